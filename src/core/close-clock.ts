import { subtractRanges, type TimeRange } from "./range.ts";
import { type Series, seriesKey } from "./series.ts";
import { cellOf, nextOpenTime } from "./timeframe.ts";

/** How long after a close the stream may bring it before REST is asked. Recorded closings came after 5 … 2,395 ms. */
export const STREAM_GRACE_MS = 5_000;
/** How long after a close REST is asked when no stream carries the series. */
export const POLL_DELAY_MS = 300;
/** First pause after an answer without the candle; it doubles up to {@link MAX_RETRY_MS}. */
const MIN_RETRY_MS = 500;
const MAX_RETRY_MS = 60_000;
/** Early answers are read again in groups: the first one waits so long for others to settle. */
const REREAD_SLACK_MS = 30_000;

/**
 * The run of candles of one series that is accounted for without a hole, and what is known beyond its end.
 * "Accounted for" = a closed candle, or a stretch that the gap ledger explains.
 */
export class Contiguity {
  readonly #series: Series;
  #next: number;
  /** Stretches beyond the first hole, disjoint, ascending. */
  #ahead: TimeRange[] = [];

  /** @param next open time of the first candle that is not accounted for */
  constructor(series: Series, next: number) {
    this.#series = series;
    this.#next = next;
  }

  /** Open time of the first candle that is not accounted for; everything before it is. */
  get next(): number {
    return this.#next;
  }

  /** The first hole that something accounted for lies behind, or `undefined` when there is none. */
  get firstHole(): TimeRange | undefined {
    const [first] = this.#ahead;
    return first === undefined ? undefined : { from: this.#next, to: first.from };
  }

  /** Parts of `range` that are not accounted for; disjoint, ascending. */
  missingIn(range: TimeRange): TimeRange[] {
    const from = Math.max(range.from, this.#next);
    return from >= range.to ? [] : subtractRanges({ from, to: range.to }, this.#ahead);
  }

  /** Accounts for the candle that opens at `openTime`; an off-grid one stands for the cell that it opens in. */
  add(openTime: number): void {
    const cell = cellOf(this.#series.timeframe, openTime);
    if (cell.from === this.#next && this.#ahead.length === 0) this.#next = cell.to;
    else this.addRange(cell);
  }

  /** Accounts for a stretch; edges are open times. */
  addRange(range: TimeRange): void {
    if (range.to <= this.#next || range.to <= range.from) return;
    const ahead: TimeRange[] = [];
    let { from, to } = range;
    for (const other of this.#ahead) {
      if (other.to < from || other.from > to) ahead.push(other);
      else {
        from = Math.min(from, other.from);
        to = Math.max(to, other.to);
      }
    }
    if (from <= this.#next) this.#next = to;
    else ahead.push({ from, to });
    this.#ahead = ahead.sort((a, b) => a.from - b.from);
  }
}

/** Something that REST must be asked for. */
export interface DueFetch {
  readonly series: Series;
  /** Open time from which on candles are wanted. */
  readonly from: number;
  /** `deadline` = a close is overdue, `hole` = a later candle came first, `settle` = an early answer is to be read again. */
  readonly cause: "deadline" | "hole" | "settle";
  /** Exchange time at which it became due; the oldest goes first. */
  readonly dueTime: number;
}

interface Tracked {
  readonly series: Series;
  readonly received: Contiguity;
  isStreamed: boolean;
  isAsking: boolean;
  attempt: number;
  /** Not asked again before this exchange time. */
  retryTime: number;
  /** True when the last answer was that the exchange does not have what is due. */
  isAbsent: boolean;
  /** Candles that rest on an early REST answer: open time → exchange time at which each has settled. */
  readonly early: Map<number, number>;
  /** What follows from all that, until something of it changes: all series are looked at many times a second. */
  due: Due | undefined;
}

interface Due {
  readonly time: number;
  readonly cause: DueFetch["cause"];
}

/**
 * The close clock: every series has a next due candle at a known instant. A candle that is not there by its deadline is
 * asked for by REST, so polling is the same clock without a stream, and a silent stream heals candle by candle.
 * Pure state: all times are exchange time, epoch ms, given by the caller.
 */
export class CloseClock {
  readonly #tracked = new Map<string, Tracked>();

  /**
   * Begins to watch a series.
   * @param next open time of the first candle that is wanted and not stored
   */
  track(series: Series, next: number): void {
    this.#tracked.set(seriesKey(series), {
      series,
      received: new Contiguity(series, next),
      isStreamed: false,
      isAsking: false,
      attempt: 0,
      retryTime: 0,
      isAbsent: false,
      early: new Map(),
      due: undefined,
    });
  }

  /** Open time of the first candle not received. @throws {RangeError} for a series that is not tracked */
  nextOf(series: Series): number {
    return this.#of(series).received.next;
  }

  /** Parts of `range` for which nothing was received and nothing is explained; disjoint, ascending. */
  missingIn(series: Series, range: TimeRange): TimeRange[] {
    return this.#of(series).received.missingIn(range);
  }

  /** Says whether a stream carries the series. Gained or lost, what is overdue is asked for at once. */
  setStreamed(series: Series, isStreamed: boolean): void {
    if (this.#of(series).isStreamed === isStreamed) return;
    const entry = this.#changing(series);
    entry.isStreamed = isStreamed;
    entry.attempt = 0;
    entry.retryTime = 0;
  }

  /** True while a stream carries the series. */
  isStreamed(series: Series): boolean {
    return this.#of(series).isStreamed;
  }

  /**
   * A closed candle was taken in.
   * @param settleTime for an early REST answer the exchange time at which it is to be read again
   */
  received(series: Series, openTime: number, settleTime?: number): void {
    const entry = this.#changing(series);
    const before = entry.received.next;
    entry.received.add(openTime);
    // Only what was due ends the pauses: behind a hole candles go on coming.
    if (entry.received.next !== before) {
      entry.attempt = 0;
      if (entry.isAbsent) entry.retryTime = 0;
    }
    if (settleTime === undefined) entry.early.delete(openTime);
    else entry.early.set(openTime, settleTime);
  }

  /** A stretch without candles is in the gap ledger: the clock goes on behind it. */
  explained(series: Series, range: TimeRange): void {
    this.#changing(series).received.addRange(range);
  }

  /**
   * What is due now, oldest first. What `accept` agrees to is marked as being asked until {@link answered} is called.
   * @param accept decides on each in turn, for instance by free places
   */
  takeDue(now: number, accept: (fetch: DueFetch) => boolean): DueFetch[] {
    const due: DueFetch[] = [];
    for (const entry of this.#tracked.values()) {
      if (entry.isAsking) continue;
      if (dueOf(entry).time <= now) due.push(fetchOf(entry, now));
    }
    due.sort((a, b) => a.dueTime - b.dueTime);
    const taken = due.filter(accept);
    for (const { series } of taken) this.#of(series).isAsking = true;
    return taken;
  }

  /**
   * The fetch of a series has ended.
   * @param outcome `done` = it brought what was due; `absent` = the exchange does not have it yet; `failed` = no answer
   */
  answered(fetch: DueFetch, outcome: "done" | "absent" | "failed", now: number): void {
    const entry = this.#changing(fetch.series);
    entry.isAsking = false;
    entry.isAbsent = outcome === "absent";
    if (outcome === "done") {
      entry.attempt = 0;
      entry.retryTime = 0;
    } else {
      // An absent candle is the exchange's affair: asking a halted market every second would eat the budget.
      entry.retryTime =
        now + Math.min(MAX_RETRY_MS, MIN_RETRY_MS * 2 ** Math.min(entry.attempt, 10));
      entry.attempt += 1;
    }
  }

  /**
   * A range was read again: what rested on early answers in it and had settled by then does so no more, whatever came.
   * @param askedTime exchange time of the question
   */
  reread(series: Series, range: TimeRange, askedTime: number): void {
    const { early } = this.#changing(series);
    for (const [openTime, settleTime] of early) {
      const isAnswered = openTime >= range.from && openTime < range.to && settleTime <= askedTime;
      if (isAnswered) early.delete(openTime);
    }
  }

  /** Exchange time at which the next thing falls due, or `undefined` when everything is being asked for. */
  nextDueTime(): number | undefined {
    let next: number | undefined;
    for (const entry of this.#tracked.values()) {
      if (entry.isAsking) continue;
      const { time } = dueOf(entry);
      if (next === undefined || time < next) next = time;
    }
    return next;
  }

  /** An entry about to be changed: what was reckoned from it holds no more. */
  #changing(series: Series): Tracked {
    const entry = this.#of(series);
    entry.due = undefined;
    return entry;
  }

  #of(series: Series): Tracked {
    const entry = this.#tracked.get(seriesKey(series));
    if (entry === undefined) throw new RangeError(`${seriesKey(series)} is not tracked`);
    return entry;
  }
}

function dueOf(entry: Tracked): Due {
  entry.due ??= reckonDue(entry);
  return entry.due;
}

function reckonDue(entry: Tracked): Due {
  const next = entry.received.next;
  const graceMs = entry.isStreamed ? STREAM_GRACE_MS : POLL_DELAY_MS;
  const hasHole = entry.received.firstHole !== undefined;
  const deadline = nextOpenTime(entry.series.timeframe, next) + (hasHole ? 0 : graceMs);
  const wanted = Math.max(deadline, entry.retryTime);
  const settled = Math.min(...entry.early.values()) + REREAD_SLACK_MS;
  if (settled < wanted) return { time: Math.max(settled, entry.retryTime), cause: "settle" };
  return { time: wanted, cause: hasHole ? "hole" : "deadline" };
}

function fetchOf(entry: Tracked, now: number): DueFetch {
  const { time, cause } = dueOf(entry);
  let from = entry.received.next;
  // One request for both: what is due, and what has settled since.
  for (const [openTime, settleTime] of entry.early) {
    if (settleTime <= now && openTime < from) from = openTime;
  }
  return { series: entry.series, from, cause, dueTime: time };
}
