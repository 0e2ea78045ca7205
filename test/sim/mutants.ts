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
  /** True when it takes worlds that go on for long after the faults. */
  readonly isPatient?: boolean;
  /** A world in which it was seen. The tests look into that one first, so that they need not search. */
  readonly seed?: number;
  /** For what the simulation has no part of: the test that has to fail, and in it those of this name. */
  readonly test?: { readonly file: string; readonly name: string };
}

/** The planted defects. Each has to be seen by the simulation within its budget of seeds. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: "acknowledge-before-commit",
    file: "ingest/writer.ts",
    find: "while (!isDone()) {",
    replace: "while (!isDone() && live < -1) {",
    seed: 6,
  },
  {
    name: "live-acknowledges-history",
    file: "ingest/writer.ts",
    find: "while (!isDone()) {",
    replace: "while (this.#finished.live + this.#finished.history < Math.min(live, history)) {",
    seed: 6,
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
    seed: 6,
  },
  {
    name: "let-go-in-silence",
    file: "ingest/queue.ts",
    find: "      this.#taken.live -= 1;\n      this.#letGo(candle);",
    replace: "      this.#taken.live -= 1;",
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
    kinds: ["ws-late-close"],
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
    find: "const due = await gaps.due(this.#series, this.#now(), limit, below);",
    replace: "const due = (await gaps.due(this.#series, this.#now(), limit, below)).slice(999);",
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
    find: 'dueGap(series, range, "not-fetched", now)',
    replace: 'dueGap(series, range, "not-fetched", now + 9e9)',
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
    seed: 20,
  },
  {
    name: "heartbeat-after-death",
    file: "core/status.ts",
    find: "if (silentMs > DEAD_AFTER_MS) {",
    replace: "if (silentMs > 1_000 * DEAD_AFTER_MS) {",
    kinds: ["kill"],
    seed: 3,
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
    find: "exchangeTime.hasSlept ? undefined : this.#now()",
    replace: "this.#now()",
    kinds: ["suspend", "rest-html"],
  },
  {
    name: "asks-by-slept-clock",
    file: "core/exchange-time.ts",
    find: "return this.#isBorrowed || this.#hasSlept;",
    replace: "return this.#isBorrowed;",
    kinds: ["suspend", "outage", "rest-hang"],
  },
  {
    name: "clocks-compared-late",
    file: "ingest/run.ts",
    find: "// This may be the first thing to run after a sleep.\n    exchangeTime.compareClocks(clock.now(), clock.monotonic());",
    replace: "",
    kinds: ["suspend"],
    seed: 6,
  },
  {
    name: "ban-end-by-own-clock",
    file: "exchanges/binance/requests.ts",
    find: "if (HOLD_STATUSES.has(status)) this.#takeStamp(",
    replace: "if (HOLD_STATUSES.has(0)) this.#takeStamp(",
    kinds: ["rest-418"],
    seed: 3,
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
    name: "confirm-skips",
    file: "ingest/confirm.ts",
    find: "const openTimes = await store.unconfirmed(series, { from, to: end }, PAGE_CANDLES);",
    replace:
      "const openTimes = (await store.unconfirmed(series, { from, to: end }, PAGE_CANDLES)).slice(0, 0);",
    isPatient: true,
    seed: 3,
  },
  {
    name: "short-page-is-the-end",
    file: "exchanges/binance/paging.ts",
    find: "const isEnd = isForming || (!isFull && (isNewest || cellEnd >= left.to));",
    replace: "const isEnd = isForming || !isFull || (isNewest && cellEnd >= left.to);",
    // What it leaves unanswered is asked for again: a world only shows that it takes longer.
    test: {
      file: "src/exchanges/binance/paging.test.ts",
      name: "a short answer is not the end",
    },
  },
  {
    name: "unanswered-counts-as-absent",
    file: "ingest/heal.ts",
    find: "subtractRanges(range, [...covered, ...present]);",
    replace: "subtractRanges(range, [...covered, ...present]).slice(99);",
    test: { file: "test/heal.test.ts", name: "what the answer did not cover" },
  },
  {
    name: "short-page-covers-all",
    file: "exchanges/binance/paging.ts",
    find: "coveredTo: Math.max(left.from, Math.min(left.to, cellEnd)),\n    nextStartTime: isEnd ? undefined : last.openTime + 1,",
    replace:
      "coveredTo: Math.max(left.from, Math.min(left.to, isFull ? cellEnd : askedTime)),\n    nextStartTime: isEnd || !isFull ? undefined : last.openTime + 1,",
    kinds: ["rest-short", "ws-drop"],
  },
  {
    name: "unproven-file-trusted",
    file: "exchanges/binance/archive.ts",
    find: 'source: check === "ok" ? file.kind : "archive-unproven",',
    replace: 'source: check === "ok" ? file.kind : file.kind,',
    kinds: ["archive-unproven"],
  },
  {
    name: "archive-above-rest",
    file: "core/finality.ts",
    find: '"archive-daily": 50,',
    replace: '"archive-daily": 65,',
    kinds: ["archive-unproven"],
    seed: 12,
  },
  {
    name: "file-counts-as-whole",
    file: "ingest/fill.ts",
    find: "subtractRanges(file.range, [...content.report().absent, ...refused])",
    replace: "subtractRanges(file.range, refused)",
    kinds: ["archive-holes"],
  },
  {
    name: "refused-row-counts-as-filled",
    file: "ingest/fill.ts",
    find: "subtractRanges(file.range, [...content.report().absent, ...refused])",
    replace: "subtractRanges(file.range, content.report().absent)",
    kinds: ["archive-poison"],
  },
  {
    name: "file-cut-off-before-commit",
    file: "ingest/fill.ts",
    find: "await writer.flushed(signal);",
    replace: "",
    kinds: ["archive-odd"],
    seed: 4,
  },
  {
    name: "file-unpacked-unchecked",
    file: "exchanges/binance/zip.ts",
    find: "if (crc !== entry.crc) throw",
    replace: "if (crc === entry.crc + 0.5) throw",
    kinds: ["archive-broken", "archive-unproven"],
    seed: 8,
  },
  {
    name: "archive-hold-ignored",
    file: "exchanges/binance/archive.ts",
    find: "if (this.#hold === undefined || this.#now() >= this.#hold.untilTime) return;",
    replace: "if (this.#now() > 0) return;",
    kinds: ["archive-down"],
  },
  {
    name: "refusal-not-listed",
    file: "ingest/writer.ts",
    find: "for (const { candle, rejection } of refusals) await store.quarantine(candle, rejection);",
    replace: "void refusals;",
    kinds: ["garbage"],
  },
  {
    name: "refusal-not-in-ledger",
    file: "ingest/intake.ts",
    find: "if (this.#writer.explain(gap)) this.#closeClock?.explained(series, gap.range);",
    replace: "this.#closeClock?.explained(series, gap.range);",
    kinds: ["garbage"],
  },
  {
    name: "alien-frame-taken",
    file: "exchanges/binance/stream.ts",
    find: "if (slot?.series.symbol !== symbol || slot.series.timeframe !== timeframe) {",
    replace: "if (slot === undefined) {",
    kinds: ["ws-alien"],
  },
  {
    name: "active-before-start",
    file: "core/status.ts",
    find: 'status("starting", "waiting for the exchange")',
    replace: 'status("active", "")',
  },
  {
    name: "stamp-of-refusal-ignored",
    file: "core/exchange-time.ts",
    find: "else if (offsetMs > this.#offsetMs + MAX_ERROR_MS) {",
    replace: "else if (offsetMs > this.#offsetMs + 9e12) {",
    kinds: ["suspend", "rest-429"],
    seed: 4,
  },
  {
    name: "local-clock-decides",
    file: "ingest/live.ts",
    find: "return this.#options.exchangeTime.now(this.#options.clock.monotonic());",
    replace: "return this.#options.clock.now();",
  },
  {
    name: "sql-last-wins",
    file: "store/candle-writer.ts",
    find: "excluded.taker_buy_quote_volume, excluded.open, excluded.high, excluded.low, excluded.close, -excluded.cut_ms)\n      >",
    replace:
      "excluded.taker_buy_quote_volume, excluded.open, excluded.high, excluded.low, excluded.close, -excluded.cut_ms)\n      is distinct from",
    test: { file: "test/store-conformance.test.ts", name: "of one road the later" },
  },
  {
    name: "sql-watermark-goes-back",
    file: "store/candle-writer.ts",
    find: "next_open_time = greatest(known.next_open_time, excluded.next_open_time),",
    replace: "next_open_time = coalesce(excluded.next_open_time, known.next_open_time),",
    test: { file: "test/store-conformance.test.ts", name: "watermarks go up" },
  },
  {
    name: "half-implies-nothing",
    file: "store/candle-writer.ts",
    find: ": impliedBy(batch, ids, written, rows, [], []);",
    replace: ": [];",
    test: { file: "test/store-faults.test.ts", name: "half of a batch" },
  },
  {
    name: "changes-out-of-order",
    file: "store/changes.ts",
    find: "return Math.min(newest, floor ?? newest);",
    replace: "return Math.max(newest, floor ?? newest);",
    test: { file: "test/store-changes.test.ts", name: "commits late" },
  },
  {
    name: "changes-of-revisions-lost",
    file: "store/candle-writer.ts",
    find: 'if (outcome !== "stored" && outcome !== "revised") continue;',
    replace: 'if (outcome !== "stored") continue;',
    test: { file: "test/store-changes.test.ts", name: "another process hears" },
  },
  {
    name: "ban-made-shorter",
    file: "store/ban-ledger.ts",
    find: "where excluded.ends_at > known.ends_at",
    replace: "where true",
    test: { file: "test/store-conformance.test.ts", name: "a ban is kept" },
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
