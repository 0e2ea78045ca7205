import { systemClock } from "../../src/clock.ts";
import { WeightBudget } from "../../src/core/budget.ts";
import { BlackTradeError } from "../../src/core/errors.ts";
import type { IngestEvent } from "../../src/core/events.ts";
import { ExchangeTime } from "../../src/core/exchange-time.ts";
import type { Series } from "../../src/core/series.ts";
import { createBinanceRest, createBinanceStream } from "../../src/exchanges/binance/index.ts";

/**
 * The real client of a hostile exchange, in a process of its own so that its memory can be measured.
 * `node bombed.ts stream|rest URL COUNT` prints how often the exchange was left and how far memory grew.
 */
const [kind, url = "", count = "3"] = process.argv.slice(2);
const times = Number(count);
const SERIES: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
const reasons: string[] = [];
const stop = new AbortController();
const parts = {
  clock: systemClock,
  exchangeTime: new ExchangeTime(),
  random: () => 0,
  record: (event: IngestEvent): void => {
    if (event.kind !== "disconnected" && event.kind !== "connectFailed") return;
    reasons.push(event.reason);
    if (reasons.length >= times) stop.abort();
  },
};

async function follow(): Promise<void> {
  const stream = createBinanceStream({ ...parts, wsUrl: url, firstDelayMs: 10 });
  for await (const _batch of stream.stream([SERIES], stop.signal)) {
    // What became of the connections is recorded above.
  }
}

async function ask(): Promise<void> {
  const rest = createBinanceRest({
    ...parts,
    baseUrl: url,
    budget: new WeightBudget(6_000),
    onHold: async () => undefined,
  });
  for (let asked = 0; asked < times; asked += 1) {
    const error = await rest.firstOpenTime(SERIES, AbortSignal.timeout(30_000)).then(
      () => new Error("it was believed"),
      (reason: unknown) => reason,
    );
    reasons.push(error instanceof BlackTradeError ? `${error.code}: ${error.message}` : "crash");
  }
}

const before = process.memoryUsage.rss();
let peak = before;
// Memory that was taken and given back within an event would be missed by this alone: see the kernel's own peak below.
const sampling = setInterval(() => {
  peak = Math.max(peak, process.memoryUsage.rss());
}, 5);
await (kind === "rest" ? ask() : follow());
clearInterval(sampling);
const top = Math.max(peak, process.resourceUsage().maxRSS * 1_024);
process.stdout.write(`${JSON.stringify({ reasons, grownBytes: top - before })}\n`);
