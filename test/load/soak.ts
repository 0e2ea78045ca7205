import { setTimeout as sleep } from "node:timers/promises";
import { between, pick, randomFor } from "../sim/random.ts";
import { scriptOptions } from "../support/script-options.ts";
import { type Reading, slopePerMinute } from "./metrics.ts";
import { LoadedProgram } from "./program.ts";

/**
 * `npm run soak -- [--minutes 10] [--symbols 100] [--seed N]`: a load for long, with a fault every 20 to 60 s. Prints a line
 * a minute and the slopes of memory, files and handles after the first fifth, at least three minutes: a heap takes so long
 * to find its size. Ends with 1 when one of them grows, a candle was shed, the exchange's rules were broken, or the series
 * are not active at the end. A run of less than ten minutes reports slopes and does not judge them.
 */
const values = scriptOptions({
  minutes: 10,
  symbols: 100,
  seed: 1,
});
const FAULTS: readonly object[] = [
  { kind: "drop", code: 1006 },
  { kind: "cutMidFrame" },
  { kind: "silence", forMs: 15_000 },
  { kind: "missingFinal", forMs: 15_000 },
  { kind: "lateFinal", ms: 3_000, forMs: 15_000 },
  { kind: "rest", answer: "503", forMs: 10_000 },
  { kind: "rest", answer: "429", retryAfter: "5", forMs: 5_000 },
  { kind: "ban", ms: 8_000 },
  { kind: "restLag", ms: 3_000, forMs: 15_000 },
  { kind: "serverShutdown", closeAfterMs: 1_000 },
  { kind: "refuseUpgrades", status: 503, forMs: 10_000 },
  { kind: "reorder", forMs: 15_000 },
];
/** Above this a slope is growth, per 10 minutes. */
const MAX_RSS_SLOPE_MB = 5;
const MAX_COUNT_SLOPE = 5;
const MIN_WARM_MS = 180_000;
const MIN_JUDGED_MINUTES = 10;

const minutes = values.minutes;
const random = randomFor(values.seed, "soak");
const program = await LoadedProgram.start({
  symbols: values.symbols,
  timeframes: ["1s", "1m", "5m"],
});
let faultCount = 0;
try {
  await program.active(300_000);
  const began = performance.now();
  const end = began + minutes * 60_000;
  const readings: Reading[] = [await program.reading()];
  const stop = new AbortController();
  const striking = (async () => {
    for (;;) {
      await sleep(between(random, 20_000, 60_000), undefined, { signal: stop.signal });
      await program.fault(pick(random, FAULTS));
      faultCount += 1;
    }
  })().catch(() => undefined);
  for (let minute = 1; performance.now() < end; minute += 1) {
    const until = Math.min(end, began + minute * 60_000);
    while (performance.now() < until) {
      await sleep(Math.min(10_000, until - performance.now()));
      readings.push(await program.reading());
    }
    const last = readings.at(-1);
    process.stderr.write(
      `minute ${minute}: rss ${last?.rssMb.toFixed(0)} MB, heap ${last?.heapMb.toFixed(0)} MB, files ${last?.openFiles}, handles ${last?.handles}, faults ${faultCount}, gaps ${last?.openGaps}, shed ${last?.shedCount}, ${JSON.stringify(await program.states())}\n`,
    );
  }
  stop.abort();
  await striking;
  const healMs = await program.active(120_000);
  const [first] = readings;
  const warmMs = Math.max(MIN_WARM_MS, minutes * 12_000);
  const warm = readings.filter(({ at }) => at >= began + warmMs);
  const slope = (of: (reading: Reading) => number): number =>
    10 * slopePerMinute(warm.map((reading) => ({ at: reading.at, value: of(reading) })));
  const rss = slope(({ rssMb }) => rssMb);
  const files = slope(({ openFiles }) => openFiles);
  const handles = slope(({ handles }) => handles);
  const last = readings.at(-1) ?? first;
  const { violations, requestCount } = await program.journal();
  const broken = Object.values(violations).reduce((sum, count) => sum + count, 0);
  const shed = last?.shedCount ?? 0;
  const isSteady =
    rss <= MAX_RSS_SLOPE_MB && files <= MAX_COUNT_SLOPE && handles <= MAX_COUNT_SLOPE;
  const isGood = (isSteady || minutes < MIN_JUDGED_MINUTES) && shed === 0 && broken === 0;
  process.stdout.write(
    `soak     ${minutes} min  faults ${faultCount}  rss max ${Math.max(...readings.map(({ rssMb }) => rssMb)).toFixed(0)} MB slope ${rss.toFixed(1)} MB/10 min  files ${files.toFixed(1)}/10 min  handles ${handles.toFixed(1)}/10 min  ` +
      `stored ${(last?.storedCount ?? 0) - (first?.storedCount ?? 0)}  shed ${shed}  violations ${broken} of ${requestCount} requests  active again ${(healMs / 1_000).toFixed(1)} s after the last fault  seed ${values.seed}\n`,
  );
  process.exitCode = isGood ? 0 : 1;
} finally {
  await program.close();
}
