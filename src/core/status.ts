import type { Series } from "./series.ts";
import { countOpenTimes, nextOpenTime, openTimeAt } from "./timeframe.ts";

/** State of a series in one word. `active` is a promise (R4); every other word comes with its reason. */
export type StatusWord =
  | "starting"
  | "backfilling"
  | "active"
  | "lagging"
  | "gap"
  | "stale"
  | "banned"
  | "halted"
  | "paused"
  | "error";

/** What a state asks of whoever reads it, most urgent first: to do something, to wait, to know of it, nothing. */
export const CONCERNS = ["bad", "busy", "dim", "good"] as const;
export type Concern = (typeof CONCERNS)[number];

/** {@link Concern} of each state. */
export const CONCERN_OF: Readonly<Record<StatusWord, Concern>> = {
  active: "good",
  starting: "busy",
  backfilling: "busy",
  lagging: "busy",
  gap: "busy",
  halted: "dim",
  paused: "dim",
  stale: "bad",
  banned: "bad",
  error: "bad",
};

/** The series that need a look come first; those of one concern stay in their order. */
export function mostUrgentFirst<One extends { readonly status: { readonly word: StatusWord } }>(
  series: readonly One[],
): One[] {
  const groups = Map.groupBy(series, ({ status }) => CONCERN_OF[status.word]);
  return CONCERNS.flatMap((concern) => groups.get(concern) ?? []);
}

/** How late a candle may be before its absence shows: close → stored takes 0 … 7 s on a healthy day. */
export const LATENESS_MS = 20_000;
/** A sign of life is written this often. */
export const HEARTBEAT_MS = 10_000;
/** Without a sign of life for so long the ingester counts as gone. With lateness and heartbeat it stays below 90 s (R4). */
export const DEAD_AFTER_MS = 45_000;
/** Lag from which on a series is called stale: nothing comes, rather than something late. */
const STALE_AFTER_MS = 5 * 60_000;

/** The run of the ingester, as stored. All times are exchange time (epoch ms), carried forward by the database's clock. */
export interface RunFacts {
  readonly host: string;
  readonly pid: number;
  readonly mode: "websocket" | "polling";
  readonly startedTime: number;
  readonly heartbeatTime: number;
  /** Set by a clean stop. */
  readonly stoppedTime?: number;
  /** End of a hold by the exchange. */
  readonly bannedUntilTime?: number;
  /** Now, by the database's clock and the exchange's offset from it. */
  readonly now: number;
}

/** What is stored about a series. Times are exchange time, epoch ms. */
export interface SeriesFacts {
  readonly series: Series;
  /** True when the current or last run was configured to ingest it. */
  readonly isConfigured: boolean;
  /** Open time of the first candle wanted; absent until the exchange has said its time once. */
  readonly wantedFrom?: number;
  /** Every candle from `wantedFrom` up to this open time is stored or in the gap ledger. Absent with it. */
  readonly next?: number;
  /** Open time of the newest stored candle. */
  readonly newestOpenTime?: number;
  readonly isStreamed: boolean;
  readonly isCatchingUp: boolean;
  readonly openGapCount: number;
  /** Of what the exchange never had; what is not kept is not among them. */
  readonly confirmedGapCount: number;
  /** Open time before which candles were removed because they are not kept; absent when none were. */
  readonly keptFrom?: number;
  readonly haltedStatus?: string;
  /** Every stored candle that opens before this was confirmed by an archive or by settled REST. */
  readonly confirmedTo?: number;
  readonly problem?: string;
  /** Since when the problem stands. */
  readonly problemSinceTime?: number;
  /** Close → stored of the newest candle that came live, ms. */
  readonly latencyMs?: number;
}

/** A state with its reason in plain words. */
export interface SeriesStatus {
  readonly word: StatusWord;
  /** One line: what, and what the program does about it. Empty for a plain `active`. */
  readonly reason: string;
  /** Now − newest close that is stored, ms; `undefined` when nothing is stored. */
  readonly lagMs?: number;
}

/**
 * The one function that says how a series is: CLI, API, metric and page call it.
 * `active` only if every candle that must exist by now is stored and no gap is open behind it.
 */
export function seriesStatus(facts: SeriesFacts, run: RunFacts | undefined): SeriesStatus {
  if (run === undefined || !facts.isConfigured) {
    return { word: "paused", reason: "not ingested: no ingester is configured for it" };
  }
  const { timeframe } = facts.series;
  const { newestOpenTime } = facts;
  const problem = problemOf(facts);
  const status = (word: StatusWord, reason: string): SeriesStatus => ({
    word,
    reason,
    ...(newestOpenTime === undefined
      ? {}
      : { lagMs: Math.max(0, run.now - nextOpenTime(timeframe, newestOpenTime)) }),
  });

  if (run.stoppedTime !== undefined) {
    return status(
      "paused",
      `the ingester was stopped ${ago(run.now - run.stoppedTime)} ago; start it with "npx black-trade ingest"`,
    );
  }
  // One from the future is none: the clock was set back, and whoever is alive writes a new one at once.
  const silentMs = Math.abs(run.now - run.heartbeatTime);
  if (silentMs > DEAD_AFTER_MS) {
    return status(
      "stale",
      `no sign of life of the ingester (pid ${run.pid} on ${run.host}) for ${ago(silentMs)}: it was killed, hangs, or cannot reach the database; start it again`,
    );
  }

  if (facts.next === undefined && isBanned(run)) return status("banned", banReason(run));
  if (facts.next === undefined) {
    return problem === undefined
      ? status("starting", "waiting for the exchange")
      : status("error", `${problem}; tried again by itself`);
  }
  const dueNext = openTimeAt(timeframe, run.now - LATENESS_MS);
  if (facts.next < dueNext) return status(...behind(facts, run, facts.next));
  if (facts.openGapCount > 0 && facts.isCatchingUp) {
    return status(
      "backfilling",
      `older history is being loaded: ${facts.openGapCount} stretches left`,
    );
  }
  if (facts.openGapCount > 0) {
    return status(
      "gap",
      `${facts.openGapCount} open gap${facts.openGapCount === 1 ? "" : "s"} behind the newest candle; asked for again by itself`,
    );
  }
  if (run.mode === "websocket" && !facts.isStreamed) {
    return status("active", problem ?? withoutStream(run));
  }
  return status("active", "");
}

/** REST stands in for a stream, unless the exchange forbids that, too. */
function withoutStream(run: RunFacts): string {
  return isBanned(run)
    ? `no WebSocket at the moment, and ${banReason(run)}`
    : "no WebSocket at the moment: candles come by REST at their close";
}

function isBanned({ bannedUntilTime = 0, now }: RunFacts): boolean {
  return bannedUntilTime > now;
}

function banReason({ bannedUntilTime = 0, now }: RunFacts): string {
  return `the exchange refuses requests for another ${ago(bannedUntilTime - now)}; none is sent until then, the rest is fetched afterwards`;
}

function behind(facts: SeriesFacts, run: RunFacts, next: number): [StatusWord, string] {
  const { newestOpenTime } = facts;
  const lagMs = run.now - next;
  const problem = problemOf(facts);
  if (facts.haltedStatus !== undefined) {
    return [
      "halted",
      `the exchange says ${facts.haltedStatus}: no candles come; looked at again by itself`,
    ];
  }
  if (isBanned(run)) return ["banned", banReason(run)];
  if (facts.isCatchingUp) {
    const trouble = problem === undefined ? "" : `; ${problem}`;
    return ["backfilling", `${ago(lagMs)} of history still to come${trouble}`];
  }
  if (problem !== undefined) {
    const since = facts.problemSinceTime;
    const isNew = since === undefined || run.now - since < 1_000;
    const suffix = isNew ? "" : ` (for ${ago(run.now - since)})`;
    return [
      lagMs > STALE_AFTER_MS ? "stale" : "error",
      `${problem}${suffix}; tried again by itself`,
    ];
  }
  if (newestOpenTime === undefined && run.now - run.startedTime < 60_000) {
    return ["starting", "waiting for the first candle"];
  }
  if (newestOpenTime !== undefined && newestOpenTime >= next) {
    return [
      lagMs > STALE_AFTER_MS ? "stale" : "lagging",
      `a stretch from ${ago(lagMs)} ago on is missing behind newer candles; being fetched by REST`,
    ];
  }
  return lagMs > STALE_AFTER_MS
    ? ["stale", `no new candle for ${ago(lagMs)}; asked for again by itself`]
    : ["lagging", `newest candle is ${ago(lagMs)} late; asked for by REST`];
}

/**
 * Share of the candles that ought to be there by now that open before `confirmedTo`; what is stored of them is confirmed.
 * @returns 0 … 1; `undefined` when nothing is known of the series' extent
 */
export function confirmedShare({
  series,
  wantedFrom,
  next,
  confirmedTo,
}: SeriesFacts): number | undefined {
  if (wantedFrom === undefined || next === undefined || next <= wantedFrom) return undefined;
  const { timeframe } = series;
  const due = countOpenTimes(timeframe, { from: wantedFrom, to: next });
  const to = Math.min(Math.max(confirmedTo ?? wantedFrom, wantedFrom), next);
  return due === 0 ? undefined : countOpenTimes(timeframe, { from: wantedFrom, to }) / due;
}

/** The problem on one line; blank counts as none. Its text comes from outside. */
function problemOf({ problem }: SeriesFacts): string | undefined {
  return problem?.replace(/\s+/g, " ").trim() || undefined;
}

/** A duration for people, in one unit: `90 s`, `5 min`, `3 h`, `4 d`. */
export function ago(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 72 ? `${hours} h` : `${Math.round(hours / 24)} d`;
}
