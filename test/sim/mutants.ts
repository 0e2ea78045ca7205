import type { FaultKind } from "./faults.ts";

/** A defect that somebody could make. */
export interface Mutant {
  readonly name: string;
  /** Below `src/`. */
  readonly file: string;
  /** Text that stands in the file exactly once. */
  readonly find: string;
  readonly replace: string;
  /** Faults that bring it out; worlds are drawn with more of them. */
  readonly kinds?: readonly FaultKind[];
}

/** The planted defects. Each has to be seen by the simulation within its budget of seeds. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: "acknowledge-before-commit",
    file: "ingest/writer.ts",
    find: "while (this.#finishedCount < target) {",
    replace: "while (false as boolean) {",
  },
  {
    name: "watermark-before-rows",
    file: "ingest/writer.ts",
    find: "return await store.write(batch, watermarks);",
    replace: "await store.write([], watermarks); return await store.write(batch, []);",
  },
  {
    name: "batch-lost-on-error",
    file: "ingest/writer.ts",
    find: "if (signal.aborted) return undefined;\n        try {",
    replace:
      "if (attempt === 0) return { outcomes: [], rejections: new Map() } as T;\n        try {",
  },
  {
    name: "shed-in-silence",
    file: "ingest/writer.ts",
    find: "for (const range of ranges) this.#gaps.push(shedGap(series, range, now));",
    replace: "void ranges; void now; void shedGap;",
  },
  {
    name: "no-deadline-fetch",
    file: "core/close-clock.ts",
    find: "const deadline = nextOpenTime(entry.series.timeframe, next) + (hasHole ? 0 : graceMs);",
    replace:
      "const deadline = entry.isStreamed ? Number.POSITIVE_INFINITY : nextOpenTime(entry.series.timeframe, next) + graceMs;",
  },
  {
    name: "watermark-over-hole",
    file: "core/close-clock.ts",
    find: "if (from <= this.#next) this.#next = to;",
    replace: "if (from >= 0) this.#next = to;",
  },
  {
    name: "early-never-reread",
    file: "core/close-clock.ts",
    find: "else entry.early.set(openTime, settleTime);",
    replace: "else void settleTime;",
  },
  {
    name: "forming-from-rest",
    file: "core/finality.ts",
    find: "if (askedTime < endTime) forming.push(row);",
    replace: "if (askedTime < endTime) settled.push(row);",
  },
  {
    name: "lone-row-trusted",
    file: "core/finality.ts",
    find: "export const LONE_ROW_CLOSED_MS = 30_000;",
    replace: "export const LONE_ROW_CLOSED_MS = 0;",
    kinds: ["rest-stale"],
  },
  {
    name: "stale-overwrite",
    file: "core/finality.ts",
    find: "if (byVersion !== 0) return byVersion;",
    replace: "if (byVersion !== 0) return 1;",
  },
  {
    name: "first-wins",
    file: "core/finality.ts",
    find: "if (byVersion !== 0) return byVersion;",
    replace: "if (byVersion !== 0) return -1;",
  },
  {
    name: "stream-above-rest",
    file: "core/finality.ts",
    find: "  stream: 30,",
    replace: "  stream: 65,",
  },
  {
    name: "dedupe-by-open-time-only",
    file: "core/finality.ts",
    find: "export function candleKey({ series, candle }: SeriesCandle): string {",
    replace:
      'export function candleKey({ series, candle }: SeriesCandle): string {\n  if (series.symbol !== "") return String(candle.openTime);',
  },
  {
    name: "forming-from-stream",
    file: "ingest/live.ts",
    find: "else if (event.isClosed) {",
    replace: "else if (event.isClosed || event.candle.tradeCount > 290) {",
  },
  {
    name: "gaps-never-healed",
    file: "ingest/live.ts",
    find: "const due = await gaps.due(this.#series, this.#now(), HEAL_LANES * 4);",
    replace: "const due = (await gaps.due(this.#series, this.#now(), HEAL_LANES * 4)).slice(99);",
  },
  {
    name: "resubscribe-never",
    file: "exchanges/binance/shard.ts",
    find: "if (this.#toRenew.size === 0 || this.#isGathering) return;",
    replace: "if (this.#toRenew.size >= 0 || this.#isGathering) return;",
    kinds: ["ws-mute"],
  },
  {
    name: "silence-forgotten",
    file: "ingest/live.ts",
    find: "if (tradedOpenTimes.length > 0) this.#retrySilent(series);",
    replace: "",
    kinds: ["ws-ack-silent"],
  },
  {
    name: "audit-never",
    file: "core/gaps.ts",
    find: "export function notFetchedGap(series: Series, range: TimeRange, now: number): Gap {\n  return {",
    replace:
      "export function notFetchedGap(series: Series, range: TimeRange, at: number): Gap {\n  const now = at + 9e9;\n  return {",
    kinds: ["db-deleted-row"],
  },
  {
    name: "absence-believed-too-soon",
    file: "core/gaps.ts",
    find: "export const CONFIRM_AFTER_MS = 60 * 60_000;",
    replace: "export const CONFIRM_AFTER_MS = 5 * 60_000;",
    kinds: ["outage"],
  },
  {
    name: "missing-dropped",
    file: "core/gaps.ts",
    find: "return missing.map((range) => {\n    const firstAskedTime",
    replace: "return missing.slice(1).map((range) => {\n    const firstAskedTime",
  },
  {
    name: "ban-forgotten-on-restart",
    file: "ingest/run.ts",
    find: "if (ban === undefined) return;",
    replace: "if (ban === undefined || ban !== undefined) return;",
    kinds: ["rest-418", "kill"],
  },
  {
    name: "hold-ignored",
    file: "core/budget.ts",
    find: "if (now < this.#heldUntil) return this.#heldUntil - now;",
    replace: "",
    kinds: ["rest-429"],
  },
  {
    name: "weight-not-counted",
    file: "core/budget.ts",
    find: "if (this.usedAt(now) + weight <= this.#limit * SHARES[priority]) {",
    replace: "if (this.usedAt(now) >= 0 || SHARES[priority] < weight) {",
    kinds: ["rest-short"],
  },
  {
    name: "heartbeat-after-death",
    file: "core/status.ts",
    find: "if (silentMs > DEAD_AFTER_MS) {",
    replace: "if (silentMs > 1_000 * DEAD_AFTER_MS) {",
    kinds: ["kill"],
  },
  {
    name: "active-with-open-gaps",
    file: "core/status.ts",
    find: "  if (facts.openGapCount > 0) {",
    replace: "  if (facts.openGapCount > 1_000) {",
  },
  {
    name: "time-told-after-sleep",
    file: "ingest/run.ts",
    find: "this.#isTimeDoubtful ? undefined : this.#now()",
    replace: "this.#now()",
    kinds: ["suspend", "rest-html"],
  },
  {
    name: "clocks-compared-late",
    file: "ingest/run.ts",
    find: "// This may be the first thing to run after a sleep.\n    this.#compareClocks();",
    replace: "",
    kinds: ["suspend"],
  },
  {
    name: "ban-end-by-own-clock",
    file: "exchanges/binance/requests.ts",
    find: "if (HOLD_STATUSES.has(status)) this.#seedTime(",
    replace: "if (HOLD_STATUSES.has(0)) this.#seedTime(",
    kinds: ["rest-418"],
  },
  {
    name: "broken-json-is-empty",
    file: "exchanges/binance/answers.ts",
    find: "if (answer === undefined) throw badAnswer(",
    replace:
      "const none = decode([]);\n  if (answer === undefined && none.isOk) return none.value;\n  if (answer === undefined) throw badAnswer(",
    kinds: ["rest-cut"],
  },
  {
    name: "no-pong",
    file: "exchanges/binance/link.ts",
    find: "perMessageDeflate: false,",
    replace: "perMessageDeflate: false, autoPong: false,",
  },
  {
    name: "dead-link-kept",
    file: "exchanges/binance/link.ts",
    find: "const limitMs = this.#openedMs === undefined ? connectTimeoutMs : deadLinkMs;",
    replace:
      "const limitMs = this.#openedMs === undefined ? connectTimeoutMs : 1_000 * deadLinkMs;",
    kinds: ["ws-halfopen"],
  },
  {
    name: "subscribe-too-fast",
    file: "exchanges/binance/link.ts",
    find: "if (this.#waiting.length > 0 && waitMs > 0) {",
    replace: "if (this.#waiting.length > 9_999 && waitMs > 0) {",
  },
  {
    name: "never-reconnects",
    file: "exchanges/binance/shard.ts",
    find: "if (await this.#takeOver(link, reason)) reason = await this.#untilItEnds(link, wish);",
    replace:
      "if (await this.#takeOver(link, reason)) reason = await this.#untilItEnds(link, wish);\n        if (this.#carriers.size === 0) return;",
  },
  {
    name: "local-clock-decides",
    file: "ingest/live.ts",
    find: "return this.#options.exchangeTime.now(this.#options.clock.monotonic());",
    replace: "return this.#options.clock.now();",
  },
];

/**
 * Writes a defect into a source.
 * @throws {Error} when the text is not there exactly once: the program has moved on, and the mutant has to follow
 */
export function mutate({ name, find, replace }: Mutant, source: string): string {
  const count = source.split(find).length - 1;
  if (count !== 1) throw new Error(`mutant ${name} is stale: its text stands there ${count} times`);
  return source.replace(find, () => replace);
}
