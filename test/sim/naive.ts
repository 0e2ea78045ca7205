import type { Candle } from "../../src/core/candle.ts";
import type { Series } from "../../src/core/series.ts";
import { ceilOpenTime } from "../../src/core/timeframe.ts";
import type { ProgramParts } from "./program.ts";
import { WebSocket } from "./socket.ts";

const RECONNECT_MS = 5_000;

/**
 * The collector that everybody writes first: connect, subscribe, insert what is closed, connect again after an end. It is
 * put into the same worlds as ours, so that a reader sees that the faults bite.
 */
export async function naiveCollector({
  setting,
  process,
  store,
  record,
  signal,
}: ProgramParts): Promise<void> {
  const { clock } = process;
  const { series } = setting;
  await store.begin({ mode: "websocket", host: "naive", pid: process.id }, series);
  await store.want(
    series.map((one) => ({
      series: one,
      wantedFrom: ceilOpenTime(one.timeframe, setting.startTime),
    })),
    clock.now(),
  );
  while (!signal.aborted) {
    await connectOnce(series, signal, (one, candle, observedTime) => {
      store.write([{ series: one, candle, source: "stream", observedTime }], []).catch(() => {
        record({ kind: "shed", series: one, count: 1 });
      });
    });
    await clock.sleep(RECONNECT_MS, signal);
  }
}

/** Follows one connection to its end. */
function connectOnce(
  series: readonly Series[],
  signal: AbortSignal,
  onClosed: (series: Series, candle: Candle, observedTime: number) => void,
): Promise<void> {
  return new Promise((resolve) => {
    const socket = new WebSocket(new URL("wss://stream.sim/stream"));
    const names = new Map(
      series.map((one) => [`${one.symbol.toLowerCase()}@kline_${one.timeframe}`, one]),
    );
    signal.addEventListener("abort", () => socket.terminate(), { once: true });
    socket.on("open", () => {
      socket.send(JSON.stringify({ method: "SUBSCRIBE", params: [...names.keys()], id: 1 }));
    });
    socket.on("unexpected-response", () => socket.terminate());
    socket.on("error", () => undefined);
    socket.on("close", () => resolve());
    socket.on("message", (data: Buffer) => {
      const frame = readFrame(data);
      const one = names.get(frame?.stream ?? "");
      if (frame?.data?.k.x === true && one !== undefined)
        onClosed(one, candleOf(frame.data.k), frame.data.E);
    });
  });
}

interface KlineFrame {
  readonly stream: string;
  readonly data?: {
    readonly E: number;
    readonly k: Record<string, string> & { t: number; T: number; n: number; x: boolean };
  };
}

function readFrame(data: Buffer): KlineFrame | undefined {
  try {
    return JSON.parse(data.toString());
  } catch {
    return undefined;
  }
}

function candleOf(k: NonNullable<KlineFrame["data"]>["k"]): Candle {
  const text = (name: string): string => String(k[name]);
  return {
    ...{ openTime: k.t, closeTime: k.T, tradeCount: k.n },
    ...{ open: text("o"), high: text("h"), low: text("l"), close: text("c") },
    ...{ volume: text("v"), quoteVolume: text("q") },
    ...{ takerBuyVolume: text("V"), takerBuyQuoteVolume: text("Q") },
  };
}
