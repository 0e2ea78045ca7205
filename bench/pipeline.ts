import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import WebSocket from "ws";
import { systemClock } from "../src/clock.ts";
import { CloseClock } from "../src/core/close-clock.ts";
import { ExchangeTime } from "../src/core/exchange-time.ts";
import type { Series } from "../src/core/series.ts";
import { createBinanceStream } from "../src/exchanges/binance/stream.ts";
import { Intake } from "../src/ingest/intake.ts";
import { Writer } from "../src/ingest/writer.ts";
import { scriptOptions } from "../test/support/script-options.ts";
import { medianOf } from "./support/median.ts";

/**
 * Frames a second from the socket to the close clock (stream, codec, buffer, intake), beside bare `ws` + `JSON.parse` of the
 * same frames. The sender is a process of its own; alternating, medians.
 * Run: `npm run bench:pipeline -- [--frames 300000] [--rounds 5] [--json]`.
 */
const options = scriptOptions({
  frames: 300000,
  series: 1000,
  rounds: 5,
  json: false,
});
const frames = options.frames;
const series: Series[] = Array.from({ length: options.series }, (_, index) => ({
  exchange: "binance",
  symbol: `S${index}USDT`,
  timeframe: "1m",
}));

/** Frames a second from the first one to the last. */
async function bare(port: number): Promise<number> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/go`, { perMessageDeflate: false });
  let began = 0;
  return new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.on("message", (data) => {
      if (began === 0) began = performance.now();
      const { data: event } = JSON.parse(String(data)) as { data: { k: { x: boolean } } };
      if (!event.k.x) return;
      resolve(frames / ((performance.now() - began) / 1_000));
      socket.terminate();
    });
  });
}

async function own(port: number): Promise<number> {
  const exchangeTime = new ExchangeTime();
  const stop = new AbortController();
  const stream = createBinanceStream({
    wsUrl: `ws://127.0.0.1:${port}`,
    clock: systemClock,
    exchangeTime,
    random: Math.random,
    record: () => undefined,
    firstDelayMs: 500,
    controlIntervalMs: 1,
  });
  const writer = new Writer({
    store: undefined as never,
    clock: systemClock,
    random: Math.random,
    record: () => undefined,
    exchangeNow: () => systemClock.now(),
  });
  const closeClock = new CloseClock();
  const now = systemClock.now();
  for (const one of series) {
    closeClock.track(one, now);
    writer.track({ series: one, next: now });
  }
  const intake = new Intake(writer, closeClock);
  let began = 0;
  for await (const events of stream.stream(series, stop.signal)) {
    for (const event of events) {
      if (event.kind !== "candle") continue;
      if (began === 0) began = performance.now();
      if (!event.isClosed) continue;
      intake.take(event.series, event.candle, "stream", event.eventTime);
      stop.abort();
      return frames / ((performance.now() - began) / 1_000);
    }
  }
  throw new Error("the stream ended");
}

const server: ChildProcess = spawn(
  process.execPath,
  [
    new URL("support/frame-server.ts", import.meta.url).pathname,
    String(options.frames),
    String(options.series),
  ],
  { stdio: ["ignore", "pipe", "inherit"] },
);
try {
  const [line] = (await once(server.stdout ?? server, "data")) as [Buffer];
  const port = Number(String(line).trim());
  const rates = { own: [] as number[], bare: [] as number[] };
  for (let round = 0; round <= options.rounds; round += 1) {
    const [ownRate, bareRate] = [await own(port), await bare(port)];
    // The first round makes both warm.
    if (round === 0) continue;
    rates.own.push(ownRate);
    rates.bare.push(bareRate);
  }
  const [ownRate, bareRate] = [medianOf(rates.own), medianOf(rates.bare)];
  const report = {
    frames,
    rounds: rates.own.length,
    ownPerSecond: Math.round(ownRate),
    barePerSecond: Math.round(bareRate),
    ratio: Number((ownRate / bareRate).toFixed(2)),
  };
  process.stdout.write(
    options.json
      ? `${JSON.stringify(report)}\n`
      : `pipeline ${report.ownPerSecond} frames/s, bare ws + JSON.parse ${report.barePerSecond}: ratio ${report.ratio} (median of ${report.rounds}, alternating)\n`,
  );
} finally {
  server.kill();
}
