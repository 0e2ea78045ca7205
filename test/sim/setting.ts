import type { Series } from "../../src/core/series.ts";
import type { Timeframe } from "../../src/core/timeframe.ts";
import type { Operation } from "./database.ts";
import { drawArchiveFaults, drawFaults, type Fault, type FaultKind } from "./faults.ts";
import { between, pick, randomFor } from "./random.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** What one run is like, all of it drawn from its seed. */
export interface Setting {
  readonly seed: number;
  readonly startTime: number;
  readonly series: readonly Series[];
  readonly mode: "websocket" | "polling";
  /** History wanted of a new series. */
  readonly historyMs: number;
  /** The part of the run with faults. */
  readonly faultyMs: number;
  /** How long it goes on once all is well, if longer than a few minutes: confirming takes its time. */
  readonly quietMs?: number;
  /** True when there is an archive, and so much history that it is used. */
  readonly hasArchive?: boolean;
  readonly wallSkewMs: number;
  readonly databaseSkewMs: number;
  readonly weightLimit: number;
  readonly maxStreams: number;
  readonly maxAgeMs: number;
  readonly tuning: {
    readonly subscribeBatch: number;
    readonly maxStreamsPerSocket: number;
    readonly rotateAfterMs: number;
    readonly rotateJitterMs: number;
    readonly maxBufferedEvents: number;
  };
  /** Candles that may wait for the database. */
  readonly capacity: number;
  /** Safety nets that are taken away. */
  readonly broken: readonly Operation[];
  readonly isResubscribing: boolean;
  readonly faults: readonly Fault[];
}

const SYMBOLS = ["BTCUSDT", "ETHUSDT", "BNBUSDT", "币安USDT", "SOLUSDT"] as const;
const TIMEFRAMES: readonly Timeframe[] = ["1m", "1m", "1m", "3m", "5m", "15m", "1h"];

/** Weeks of history in a timeframe that has so many candles in them that files are worth their while. */
const ARCHIVED: readonly { readonly timeframe: Timeframe; readonly days: number }[] = [
  { timeframe: "1m", days: 15 },
  { timeframe: "5m", days: 76 },
];
const DAY_MS = 24 * HOUR_MS;
/** Long enough that everything is due to be read again. */
const LONG_QUIET_MS = 100 * MINUTE_MS;

/** What a run is to have more of than chance would give it. */
export interface Wish {
  readonly kinds?: readonly FaultKind[];
  /** It goes on for so long after the faults that every candle is due to be read again. */
  readonly isPatient?: boolean;
}

/** Draws the setting of a run. */
export function drawSetting(seed: number, { kinds: wanted = [], isPatient }: Wish = {}): Setting {
  const drawn = drawLive(seed, wanted);
  const random = randomFor(seed, "long runs");
  const isQuiet = random() < 0.1;
  const isArchived = random() < 0.06 || wanted.some((kind) => kind.startsWith("archive"));
  const isLong = isPatient === true || isQuiet;
  const setting = isLong ? { ...drawn, quietMs: LONG_QUIET_MS } : drawn;
  return isArchived ? withArchive(setting, wanted) : setting;
}

/** The same with weeks of history, which come out of files. */
function withArchive(setting: Setting, wanted: readonly FaultKind[]): Setting {
  const { seed, faultyMs, faults } = setting;
  const random = randomFor(seed, "archive");
  const { timeframe, days } = pick(random, ARCHIVED);
  const symbol = SYMBOLS[random() < 0.2 ? 3 : 0] as string;
  const series: Series[] = [{ exchange: "binance", symbol, timeframe }];
  if (random() < 0.3) series.push({ exchange: "binance", symbol, timeframe: "15m" });
  return {
    ...setting,
    series,
    hasArchive: true,
    historyMs: days * DAY_MS + Math.floor(random() * DAY_MS),
    // Room for two pages of a file.
    capacity: Math.max(setting.capacity, 10_000),
    weightLimit: Math.max(setting.weightLimit, 400),
    faults: [...faults, ...drawArchiveFaults(seed, faultyMs, wanted)].sort(
      (a, b) => a.atMs - b.atMs,
    ),
  };
}

function drawLive(seed: number, wanted: readonly FaultKind[]): Setting {
  const random = randomFor(seed, "setting");
  const symbols = SYMBOLS.slice(0, between(random, 1, 3));
  const timeframes = new Set<Timeframe>(["1m"]);
  for (let more = between(random, 0, 2); more > 0; more -= 1)
    timeframes.add(pick(random, TIMEFRAMES));
  const hasSeconds = random() < 0.04;
  const series: Series[] = symbols.flatMap((symbol) =>
    [...timeframes].map((timeframe) => ({ exchange: "binance", symbol, timeframe })),
  );
  if (hasSeconds)
    series.push({ exchange: "binance", symbol: symbols[0] as string, timeframe: "1s" });
  // Somewhere in a fortnight of which the 1st of a month and a Monday are part, at any millisecond.
  const startTime = Date.UTC(2026, 4, 24) + Math.floor(random() * 14 * 24 * HOUR_MS);
  const longest = wanted.length > 0 ? 50 : 100;
  const faultyMs = (hasSeconds ? 15 : between(random, 25, longest)) * MINUTE_MS;
  const isPolling = random() < 0.12;
  const isAged = random() < 0.5;
  const maxAgeMs = isAged ? between(random, 15, 60) * MINUTE_MS : 24 * HOUR_MS;
  const isRotating = random() < 0.8;
  const isTight = random() < 0.3;
  const historyMs = hasSeconds ? 10 * MINUTE_MS : between(random, 5, 120) * MINUTE_MS;
  // More than a page of REST, and further back than live ingestion catches up with at once.
  const isLongHistory = !hasSeconds && randomFor(seed, "long history")() < 0.08;
  const leastCapacity = hasSeconds || isLongHistory ? 2_000 : 0;
  const broken: Operation[] = [];
  if (random() < 0.08) broken.push("unconfirmed");
  if (random() < 0.08) broken.push("holes");
  return {
    seed,
    startTime,
    series,
    mode: isPolling ? "polling" : "websocket",
    historyMs: isLongHistory ? 1_700 * MINUTE_MS : historyMs,
    faultyMs,
    wallSkewMs: random() < 0.4 ? between(random, -600_000, 600_000) : between(random, -200, 200),
    databaseSkewMs: random() < 0.4 ? between(random, -600_000, 600_000) : between(random, -50, 50),
    // A candle a second by REST is more than the smallest of them allows.
    weightLimit: Math.max(pick(random, [6_000, 6_000, 400, 80]), hasSeconds && isPolling ? 400 : 0),
    maxStreams: random() < 0.1 ? 4 : 1_024,
    maxAgeMs,
    tuning: {
      subscribeBatch: pick(random, [1, 2, 200]),
      maxStreamsPerSocket: pick(random, [2, 5, 1_000, 1_000]),
      rotateAfterMs: isRotating ? maxAgeMs * 0.9 : 10 * 24 * HOUR_MS,
      rotateJitterMs: maxAgeMs * 0.02,
      maxBufferedEvents: random() < 0.25 ? 3 : 200_000,
    },
    // A page of a thousand candles has to find room: less than two pages is no setting that anybody has.
    capacity: isTight ? Math.max(between(random, 3, 12), leastCapacity) : 100_000,
    broken,
    isResubscribing: random() > 0.06,
    faults: drawFaults(
      seed,
      faultyMs,
      wanted.filter((kind) => !kind.startsWith("archive")),
    ),
  };
}
