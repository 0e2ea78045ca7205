import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { openTime, series, timeframe } from "../../test/support/arbitraries.ts";
import {
  CloseClock,
  Contiguity,
  type DueFetch,
  POLL_DELAY_MS,
  STREAM_GRACE_MS,
} from "./close-clock.ts";
import { SETTLE_MS } from "./finality.ts";
import type { TimeRange } from "./range.ts";
import { type Series, seriesKey } from "./series.ts";
import {
  nextOpenTime,
  nominalMs,
  openTimeAt,
  shiftOpenTime,
  TIMEFRAMES,
  type Timeframe,
} from "./timeframe.ts";

const MIN_RETRY_MS = 500;
const MAX_RETRY_MS = 60_000;
const REREAD_SLACK_MS = 30_000;

// --- Contiguity -------------------------------------------------------------------------------------------------------

/** Cells on a line of forty, some of them before the first that is wanted. */
type Account =
  | { readonly kind: "add"; readonly cell: number; readonly offGridPart: number }
  | { readonly kind: "addRange"; readonly cell: number; readonly count: number };

const account = (): fc.Arbitrary<Account> =>
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant("add" as const),
        cell: fc.integer({ min: -3, max: 24 }),
        offGridPart: fc.constantFrom(0, 0, 0, 0.3, 0.99),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant("addRange" as const),
        cell: fc.integer({ min: -5, max: 24 }),
        count: fc.integer({ min: -1, max: 6 }),
      }),
    },
  );

/** The model: a set of cells; what lies before the first wanted one is accounted for. */
class CellSet {
  readonly #of: Timeframe;
  readonly #start: number;
  readonly #cells = new Set<number>();

  constructor(of: Timeframe, start: number) {
    this.#of = of;
    this.#start = start;
  }

  add(range: TimeRange): void {
    for (let open = range.from; open < range.to; open = nextOpenTime(this.#of, open)) {
      this.#cells.add(open);
    }
  }

  has(open: number): boolean {
    return open < this.#start || this.#cells.has(open);
  }

  get next(): number {
    let open = this.#start;
    while (this.#cells.has(open)) open = nextOpenTime(this.#of, open);
    return open;
  }

  get firstHole(): TimeRange | undefined {
    const from = this.next;
    const behind = [...this.#cells].filter((open) => open > from);
    return behind.length === 0 ? undefined : { from, to: Math.min(...behind) };
  }

  missingIn(range: TimeRange): number[] {
    const missing: number[] = [];
    for (let open = range.from; open < range.to; open = nextOpenTime(this.#of, open)) {
      if (!this.has(open)) missing.push(open);
    }
    return missing;
  }
}

test("after any candles and stretches, next, hole and missing parts are those of a set of cells", () => {
  const scene = timeframe()
    .chain((of) => fc.tuple(fc.constant(of), openTime(of)))
    .chain(([of, start]) =>
      fc.record({
        of: fc.constant(of),
        start: fc.constant(start),
        steps: fc.array(account(), { maxLength: 40, size: "max" }),
        asked: fc.tuple(fc.integer({ min: -5, max: 30 }), fc.integer({ min: 0, max: 20 })),
      }),
    );
  fc.assert(
    fc.property(scene, ({ of, start, steps, asked }) => {
      const open = (cell: number): number => shiftOpenTime(of, start, cell);
      const run = new Contiguity({ exchange: "binance", symbol: "X", timeframe: of }, start);
      const model = new CellSet(of, start);
      for (const step of steps) {
        const from = open(step.cell);
        if (step.kind === "add") {
          const to = open(step.cell + 1);
          run.add(from + Math.floor(step.offGridPart * (to - from)));
          model.add({ from, to });
        } else {
          const range = { from, to: open(step.cell + step.count) };
          run.addRange(range);
          model.add(range);
        }
        assert.equal(run.next, model.next);
        assert.deepEqual(run.firstHole, model.firstHole);
        const range = { from: open(asked[0]), to: open(asked[0] + asked[1]) };
        const missing = run.missingIn(range);
        const cells: number[] = [];
        missing.forEach((part, index) => {
          assert.ok(part.from < part.to && part.from > (missing[index - 1]?.to ?? -Infinity));
          for (let each = part.from; each < part.to; each = nextOpenTime(of, each))
            cells.push(each);
        });
        assert.deepEqual(cells, model.missingIn(range));
      }
    }),
    { numRuns: 500 },
  );
});

test("a quarter of minutes ends without a hole when some of them came long before", () => {
  const of: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
  const start = Date.UTC(2025, 0, 1);
  const count = 90 * 1_440;
  const run = new Contiguity(of, start);
  // 7919 is prime and no divisor of the count: every minute once, far apart in time.
  for (let index = 0; index < 100; index++) run.add(start + ((index * 7_919) % count) * 60_000);
  for (let index = 0; index < count; index++) run.add(start + index * 60_000);
  assert.equal(run.next, start + count * 60_000);
  assert.equal(run.firstHole, undefined);
});

// --- CloseClock -------------------------------------------------------------------------------------------------------

type Step =
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "waitCells"; readonly part: number }
  | {
      readonly kind: "received";
      readonly who: number;
      readonly ahead: number;
      readonly isEarly: boolean;
    }
  | { readonly kind: "explained"; readonly who: number; readonly count: number }
  /** A range around the newest candles was read again, by a question that may be a while old. */
  | {
      readonly kind: "reread";
      readonly who: number;
      readonly cell: number;
      readonly count: number;
      readonly agoMs: number;
    }
  | { readonly kind: "streamed"; readonly who: number; readonly isStreamed: boolean }
  | { readonly kind: "take"; readonly limit: number }
  | {
      readonly kind: "answer";
      readonly which: number;
      readonly outcome: "done" | "absent" | "failed";
    };

const who = (): fc.Arbitrary<number> => fc.nat(2);

const step = (): fc.Arbitrary<Step> =>
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant("wait" as const),
        ms: fc.oneof(fc.nat(1_000), fc.nat(90_000)),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant("waitCells" as const),
        part: fc.double({ min: 0, max: 2.5, noNaN: true }),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant("received" as const),
        who: who(),
        ahead: fc.constantFrom(0, 0, 0, 1, 2, -1),
        isEarly: fc.boolean(),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant("explained" as const),
        who: who(),
        count: fc.integer({ min: 1, max: 3 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant("reread" as const),
        who: who(),
        cell: fc.integer({ min: -4, max: 2 }),
        count: fc.integer({ min: 0, max: 4 }),
        agoMs: fc.oneof(fc.constant(0), fc.nat(90_000)),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant("streamed" as const),
        who: who(),
        isStreamed: fc.boolean(),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant("take" as const), limit: fc.nat(3) }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant("answer" as const),
        which: fc.nat(2),
        outcome: fc.constantFrom("done" as const, "absent" as const, "failed" as const),
      }),
    },
  );

interface Watched {
  readonly series: Series;
  readonly model: CellSet;
  isStreamed: boolean;
  fetch: DueFetch | undefined;
  /** Exchange time at which `fetch` was sent. */
  askedTime: number;
  /** Exchange time of the last answer without success; nothing before it plus the shortest pause. */
  failedTime: number | undefined;
  isAbsent: boolean;
  /** Early candles that have not been read again: open time → settle time. */
  readonly early: Map<number, number>;
}

/** A close clock beside a model of it that keeps no cleverness: sets of cells, and what was asked when. */
class Rig {
  readonly clock = new CloseClock();
  readonly watched: Watched[];
  now: number;

  constructor(all: readonly Series[], start: number) {
    this.now = start;
    this.watched = all.map((each) => {
      const from = openTimeAt(each.timeframe, start);
      this.clock.track(each, from);
      return {
        series: each,
        model: new CellSet(each.timeframe, from),
        isStreamed: false,
        fetch: undefined,
        askedTime: 0,
        failedTime: undefined,
        isAbsent: false,
        early: new Map(),
      };
    });
  }

  play(given: Step): void {
    switch (given.kind) {
      case "wait":
        this.now += given.ms;
        break;
      case "waitCells":
        this.now += Math.floor(
          given.part *
            Math.min(...this.watched.map(({ series: each }) => nominalMs(each.timeframe))),
        );
        break;
      case "received":
        this.receive(this.#pick(given.who), given.ahead, given.isEarly);
        break;
      case "explained": {
        const { series: each, model } = this.#pick(given.who);
        const range = {
          from: model.next,
          to: shiftOpenTime(each.timeframe, model.next, given.count),
        };
        if (range.to > this.now) break;
        this.clock.explained(each, range);
        model.add(range);
        break;
      }
      case "reread": {
        const entry = this.#pick(given.who);
        const { timeframe: of } = entry.series;
        const from = shiftOpenTime(of, entry.model.next, given.cell);
        const range = { from, to: shiftOpenTime(of, from, given.count) };
        this.reread(entry, range, this.now - given.agoMs);
        break;
      }
      case "streamed": {
        const entry = this.#pick(given.who);
        if (entry.isStreamed !== given.isStreamed) entry.failedTime = undefined;
        entry.isStreamed = given.isStreamed;
        this.clock.setStreamed(entry.series, given.isStreamed);
        break;
      }
      case "take":
        this.take(given.limit);
        break;
      case "answer": {
        const asked = this.watched.filter(({ fetch }) => fetch !== undefined);
        const entry = asked[given.which % Math.max(1, asked.length)];
        if (entry !== undefined) this.answer(entry, given.outcome);
        break;
      }
    }
  }

  /** A closed candle comes in; one that has not closed by now cannot. */
  receive(entry: Watched, ahead: number, isEarly: boolean): void {
    const { series: of, model } = entry;
    const open = shiftOpenTime(of.timeframe, model.next, ahead);
    const end = nextOpenTime(of.timeframe, open);
    if (end > this.now) return;
    const before = model.next;
    if (isEarly) {
      this.clock.received(of, open, end + SETTLE_MS);
      entry.early.set(open, end + SETTLE_MS);
    } else {
      this.clock.received(of, open);
      entry.early.delete(open);
    }
    model.add({ from: open, to: end });
    // What came at last ends the pauses for it; that REST does not answer at all, it does not change.
    if (model.next !== before && entry.isAbsent) entry.failedTime = undefined;
  }

  reread(entry: Watched, range: TimeRange, askedTime: number): void {
    this.clock.reread(entry.series, range, askedTime);
    for (const [open, settleTime] of [...entry.early]) {
      if (open < range.from || open >= range.to || settleTime > askedTime) continue;
      entry.early.delete(open);
    }
  }

  take(limit: number): DueFetch[] {
    let places = limit;
    const taken = this.clock.takeDue(this.now, () => places-- > 0);
    assert.ok(taken.length <= limit);
    for (const fetch of taken) {
      const entry = this.#of(fetch.series);
      assert.equal(entry.fetch, undefined, "asked for twice at once");
      entry.fetch = fetch;
      entry.askedTime = this.now;
    }
    return taken;
  }

  answer(entry: Watched, outcome: "done" | "absent" | "failed"): void {
    const { fetch, series: of, model } = entry;
    if (fetch === undefined) return;
    entry.fetch = undefined;
    if (outcome === "done") {
      const { askedTime } = entry;
      // What had closed when it was asked, some twenty new candles of it; what is known already is not taken again.
      const end = openTimeAt(of.timeframe, askedTime);
      let open = fetch.from;
      for (let left = 20; open < end && left > 0; open = nextOpenTime(of.timeframe, open)) {
        if (model.has(open)) continue;
        left -= 1;
        const closeTime = nextOpenTime(of.timeframe, open);
        const settleTime = closeTime + SETTLE_MS;
        if (askedTime < settleTime) {
          this.clock.received(of, open, settleTime);
          entry.early.set(open, settleTime);
        } else {
          this.clock.received(of, open);
          entry.early.delete(open);
        }
        model.add({ from: open, to: closeTime });
      }
      this.reread(entry, { from: fetch.from, to: open }, askedTime);
      entry.failedTime = undefined;
    } else {
      entry.failedTime = this.now;
      entry.isAbsent = outcome === "absent";
    }
    this.clock.answered(fetch, outcome, this.now);
  }

  /** What would be given out now, without taking it. */
  offers(now = this.now): DueFetch[] {
    const offers: DueFetch[] = [];
    const taken = this.clock.takeDue(now, (fetch) => {
      offers.push(fetch);
      return false;
    });
    assert.deepEqual(taken, []);
    return offers;
  }

  check(): void {
    const offers = this.offers();
    const times = offers.map(({ dueTime }) => dueTime);
    assert.deepEqual(
      times,
      times.toSorted((a, b) => a - b),
      "oldest first",
    );
    assert.equal(new Set(offers.map((offer) => seriesKey(offer.series))).size, offers.length);
    for (const { series: of, from, cause, dueTime } of offers) {
      const { model, fetch, failedTime, early, isStreamed } = this.#of(of);
      assert.equal(fetch, undefined, "asked for twice at once");
      assert.ok(dueTime <= this.now);
      assert.ok(nextOpenTime(of.timeframe, from) <= this.now, "due before its close");
      assert.ok(failedTime === undefined || this.now >= failedTime + MIN_RETRY_MS, "no pause");
      const settled = [...early].filter(([, settleTime]) => settleTime <= this.now);
      const oldest = Math.min(model.next, ...settled.map(([open]) => open));
      assert.equal(from, oldest, "one request for what is due and for what has settled");
      if (cause === "settle") {
        const firstSettled = Math.min(...early.values());
        assert.ok(this.now >= firstSettled + REREAD_SLACK_MS, "read again too early");
      } else {
        assert.equal(cause === "hole", model.firstHole !== undefined);
        const graceMs = cause === "hole" ? 0 : isStreamed ? STREAM_GRACE_MS : POLL_DELAY_MS;
        assert.ok(this.now >= nextOpenTime(of.timeframe, model.next) + graceMs, "no grace");
      }
    }
    const offered = new Set(offers.map((offer) => seriesKey(offer.series)));
    for (const { series: of, model, fetch, failedTime, early } of this.watched) {
      assert.equal(this.clock.nextOf(of), model.next);
      const overdueTime = nextOpenTime(of.timeframe, model.next) + STREAM_GRACE_MS;
      const rereadTime = Math.min(...early.values()) + REREAD_SLACK_MS;
      const pauseEnd = failedTime === undefined ? 0 : failedTime + MAX_RETRY_MS;
      const latest = Math.max(Math.min(overdueTime, rereadTime), pauseEnd);
      if (fetch !== undefined || this.now < latest) continue;
      assert.ok(offered.has(seriesKey(of)), "overdue, and not offered");
    }
    this.#checkNextDue();
  }

  #checkNextDue(): void {
    const next = this.clock.nextDueTime();
    if (next === undefined) {
      assert.ok(this.watched.every(({ fetch }) => fetch !== undefined));
      return;
    }
    assert.ok(this.offers(next).length > 0, "nothing due at the time that was named");
    assert.equal(this.offers(next - 1).length, 0, "something due before the time that was named");
  }

  #pick(index: number): Watched {
    const entry = this.watched[index % this.watched.length];
    assert.ok(entry);
    return entry;
  }

  #of(of: Series): Watched {
    const entry = this.watched.find((each) => seriesKey(each.series) === seriesKey(of));
    assert.ok(entry);
    return entry;
  }
}

const rig = (): fc.Arbitrary<{ all: Series[]; start: number; steps: Step[] }> =>
  fc.record({
    all: fc.uniqueArray(series(), { minLength: 1, maxLength: 3, selector: seriesKey }),
    start: openTime("1s"),
    steps: fc.array(step(), { maxLength: 60, size: "max" }),
  });

test("whatever happens, what is overdue is offered, once, oldest first, and nothing before its close", () => {
  fc.assert(
    fc.property(rig(), ({ all, start, steps }) => {
      const scene = new Rig(all, start);
      scene.check();
      for (const given of steps) {
        scene.play(given);
        scene.check();
      }
    }),
    { numRuns: 700 },
  );
});

test("whatever happened, once time passes every series falls due again, moves on, and falls due again", () => {
  fc.assert(
    fc.property(rig(), ({ all, start, steps }) => {
      const scene = new Rig(all, start);
      for (const given of steps) scene.play(given);
      for (const entry of scene.watched) scene.answer(entry, "failed");
      const longest = Math.max(...all.map((each) => nominalMs(each.timeframe)));
      for (let turn = 0; turn < 5; turn++) {
        scene.now += 2 * longest + 2 * MAX_RETRY_MS;
        assert.equal(scene.take(all.length).length, all.length);
        for (const entry of scene.watched) {
          const { next } = entry.model;
          const cause = entry.fetch?.cause;
          scene.answer(entry, "done");
          if (cause !== "settle") assert.ok(scene.clock.nextOf(entry.series) > next);
          const isSettled = [...entry.early.values()].some((time) => time <= scene.now);
          assert.ok(!isSettled, "what had settled was not read again");
        }
        scene.check();
      }
    }),
    { numRuns: 500 },
  );
});

const minute: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
const OPEN = 1_783_900_800_000;
const END = OPEN + 60_000;

const peek = (clock: CloseClock, now: number): DueFetch | undefined => {
  let offer: DueFetch | undefined;
  clock.takeDue(now, (fetch) => {
    offer ??= fetch;
    return false;
  });
  return offer;
};

const takeOne = (clock: CloseClock, now: number): DueFetch => {
  const [fetch] = clock.takeDue(now, () => true);
  assert.ok(fetch, `nothing due at ${now}`);
  return fetch;
};

const watching = (isStreamed: boolean): CloseClock => {
  const clock = new CloseClock();
  clock.track(minute, OPEN);
  clock.setStreamed(minute, isStreamed);
  return clock;
};

test("a close that the stream does not bring is due after its grace, without a stream almost at once", () => {
  for (const [isStreamed, graceMs] of [
    [true, STREAM_GRACE_MS],
    [false, POLL_DELAY_MS],
  ] as const) {
    const clock = watching(isStreamed);
    assert.equal(clock.nextDueTime(), END + graceMs);
    assert.equal(peek(clock, END + graceMs - 1), undefined);
    assert.deepEqual(takeOne(clock, END + graceMs), {
      series: minute,
      from: OPEN,
      cause: "deadline",
      dueTime: END + graceMs,
    });
    assert.equal(peek(clock, END + 3_600_000), undefined, "asked for twice at once");
    assert.equal(clock.nextDueTime(), undefined);
  }
});

test("a later candle shows the hole before it: no grace", () => {
  const clock = watching(true);
  clock.received(minute, END);
  const offer = peek(clock, END + 60_000);
  assert.equal(offer?.cause, "hole");
  assert.equal(offer?.from, OPEN);
});

test("losing the stream makes what is overdue due at once", () => {
  const clock = watching(true);
  assert.equal(peek(clock, END + 1_000), undefined);
  clock.setStreamed(minute, false);
  assert.equal(peek(clock, END + 1_000)?.from, OPEN);
});

test("an absent candle is asked for in growing pauses, a minute at the most", () => {
  const clock = watching(false);
  let now = END + POLL_DELAY_MS;
  const pauses: number[] = [];
  for (let turn = 0; turn < 10; turn++) {
    clock.answered(takeOne(clock, now), "absent", now);
    const next = clock.nextDueTime();
    assert.ok(next !== undefined);
    pauses.push(next - now);
    now = next;
  }
  assert.deepEqual(pauses.slice(0, 4), [500, 1_000, 2_000, 4_000]);
  assert.deepEqual(pauses.slice(-2), [60_000, 60_000]);
});

test("the pauses grow to a minute and no further, however short or long the candles are", () => {
  for (const of of TIMEFRAMES) {
    for (const outcome of ["failed", "absent"] as const) {
      const each: Series = { ...minute, timeframe: of };
      const clock = new CloseClock();
      const open = openTimeAt(of, OPEN);
      clock.track(each, open);
      let now = nextOpenTime(of, open) + POLL_DELAY_MS;
      const pauses: number[] = [];
      for (let turn = 0; turn < 12; turn++) {
        clock.answered(takeOne(clock, now), outcome, now);
        const next = clock.nextDueTime() ?? Number.NaN;
        pauses.push(next - now);
        now = next;
      }
      const doubled = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000];
      assert.deepEqual(pauses, [...doubled, ...Array<number>(5).fill(60_000)], of);
    }
  }
});

test("success, a change of the stream, and the candle that was due begin the pauses anew", () => {
  const anew: Readonly<Record<string, (clock: CloseClock, fetch: DueFetch, now: number) => void>> =
    {
      done: (clock, fetch, now) => clock.answered(fetch, "done", now),
      stream: (clock, fetch, now) => {
        clock.answered(fetch, "failed", now);
        clock.setStreamed(minute, true);
      },
      candle: (clock, fetch, now) => {
        clock.answered(fetch, "absent", now);
        clock.received(minute, OPEN);
      },
    };
  for (const [name, begin] of Object.entries(anew)) {
    const clock = watching(false);
    let now = END + 60 * 60_000;
    for (let turn = 0; turn < 6; turn++) {
      clock.answered(takeOne(clock, now), "absent", now);
      now = clock.nextDueTime() ?? Number.NaN;
    }
    begin(clock, takeOne(clock, now), now);
    // Much is overdue: it is due at once, and the next pause is the first step again.
    clock.answered(takeOne(clock, now), "absent", now);
    assert.equal(clock.nextDueTime(), now + MIN_RETRY_MS, name);
  }
});

test("candles that come in behind a hole do not shorten the pauses between questions for it", () => {
  const clock = watching(true);
  clock.received(minute, END);
  let now = END + 60_000;
  let asked = 0;
  const stop = now + 60 * 60_000;
  while (now < stop) {
    if (peek(clock, now) !== undefined) {
      clock.answered(takeOne(clock, now), "absent", now);
      asked += 1;
    }
    if (now % 60_000 === 0) clock.received(minute, now - 60_000);
    now += 500;
  }
  assert.ok(asked <= 75, `asked ${asked} times in an hour`);
  assert.ok(asked >= 55, `asked ${asked} times in an hour`);
});

test("an absent candle that comes at last does not hold back the next one", () => {
  const clock = watching(true);
  let now = END + STREAM_GRACE_MS;
  for (let turn = 0; turn < 8; turn++) {
    clock.answered(takeOne(clock, now), "absent", now);
    now = clock.nextDueTime() ?? now;
  }
  const came = END + 64_000;
  clock.received(minute, OPEN);
  assert.equal(clock.nextDueTime(), END + 60_000 + STREAM_GRACE_MS);
  assert.equal(peek(clock, came + 1_000)?.from, END);
});

test("a link that is told again and again, unchanged, does not shorten the pauses either", () => {
  for (const isStreamed of [true, false]) {
    const clock = watching(isStreamed);
    const now = END + STREAM_GRACE_MS;
    clock.answered(takeOne(clock, now), "failed", now);
    clock.setStreamed(minute, isStreamed);
    assert.equal(peek(clock, now), undefined);
    clock.setStreamed(minute, !isStreamed);
    assert.equal(peek(clock, now)?.from, OPEN, "gained or lost: at once");
  }
});

const LATER = Number.MAX_SAFE_INTEGER;

test("an early answer is read again half a minute after it has settled", () => {
  const clock = watching(true);
  clock.received(minute, OPEN, END + SETTLE_MS);
  // The stream goes on.
  clock.received(minute, END);
  clock.received(minute, END + 60_000);
  const due = END + SETTLE_MS + REREAD_SLACK_MS;
  assert.equal(clock.nextDueTime(), due);
  assert.equal(peek(clock, due - 1), undefined);
  const fetch = takeOne(clock, due);
  assert.deepEqual(fetch, { series: minute, from: OPEN, cause: "settle", dueTime: due });
  clock.reread(minute, { from: OPEN, to: LATER }, due);
  clock.answered(fetch, "done", due);
  assert.equal(clock.nextDueTime(), END + 3 * 60_000 + STREAM_GRACE_MS);
  assert.equal(peek(clock, END + 3 * 60_000 + STREAM_GRACE_MS)?.from, END + 2 * 60_000);
});

test("whatever is due, its request starts at the oldest early candle that has settled by then", () => {
  const next = END + 60_000;
  const expected = [
    // Nothing behind the candle that is due, or a newer one: then there is no grace.
    { isAhead: false, cause: "deadline", due: next + 60_000 + POLL_DELAY_MS },
    { isAhead: true, cause: "hole", due: next + 60_000 },
  ] as const;
  for (const { isAhead, cause, due } of expected) {
    const clock = watching(false);
    if (isAhead) clock.received(minute, next + 60_000);
    // Just settled, so that neither asks for a request of its own yet; the newer one came first.
    clock.received(minute, END, due);
    clock.received(minute, OPEN, due - 1);
    const offer = { series: minute, cause, dueTime: due };
    assert.equal(clock.nextDueTime(), due);
    assert.deepEqual(peek(clock, due), { ...offer, from: OPEN });
    clock.reread(minute, { from: OPEN, to: LATER }, due - 1);
    assert.deepEqual(peek(clock, due), { ...offer, from: END });
    clock.received(minute, END, due + 1);
    assert.deepEqual(peek(clock, due), { ...offer, from: next }, "it has not settled");
    assert.deepEqual(peek(clock, due + 1), { ...offer, from: END });
  }
});

test("a better version of an early candle ends the waiting for it, and for it alone", () => {
  const clock = watching(true);
  const settleOf = (openTime: number): number => openTime + 60_000 + SETTLE_MS;
  for (const openTime of [OPEN, END]) clock.received(minute, openTime, settleOf(openTime));
  clock.received(minute, END + 60_000);
  clock.received(minute, END + 2 * 60_000);
  clock.received(minute, OPEN);
  assert.equal(clock.nextDueTime(), settleOf(END) + REREAD_SLACK_MS);
  assert.equal(peek(clock, settleOf(END) + REREAD_SLACK_MS)?.from, END);
  clock.received(minute, END);
  assert.equal(clock.nextDueTime(), END + 4 * 60_000 + STREAM_GRACE_MS);
});

test("a reading ends the waiting of what lies in its range and had settled when it was asked", () => {
  const settleTime = END + SETTLE_MS;
  const range = { from: OPEN, to: END };
  const isEnded = (read: TimeRange, askedTime: number): boolean => {
    const clock = watching(true);
    clock.received(minute, OPEN, settleTime);
    for (let more = 0; more < 5; more++) clock.received(minute, END + more * 60_000);
    clock.reread(minute, read, askedTime);
    return peek(clock, settleTime + REREAD_SLACK_MS) === undefined;
  };
  assert.ok(isEnded(range, settleTime));
  assert.ok(isEnded({ from: OPEN - 60_000, to: LATER }, settleTime + 1_000));
  assert.ok(!isEnded(range, settleTime - 1), "asked before it had settled");
  assert.ok(!isEnded({ from: END, to: LATER }, LATER), "begins behind it");
  assert.ok(!isEnded({ from: OPEN - 60_000, to: OPEN }, LATER), "its end does not belong to it");
  assert.ok(isEnded({ from: OPEN, to: OPEN + 1 }, settleTime));
  assert.ok(!isEnded({ from: END, to: OPEN }, LATER), "an empty range");
});

test("candles that settle one after another are read again together", () => {
  const second: Series = { ...minute, timeframe: "1s" };
  const clock = new CloseClock();
  clock.track(second, OPEN);
  clock.setStreamed(second, true);
  // REST brought a minute, early; from then on the stream does its duty.
  const openTimes = Array.from({ length: 60 }, (_, index) => OPEN + index * 1_000);
  for (const open of openTimes) clock.received(second, open, open + 1_000 + SETTLE_MS);
  const asked: number[] = [];
  let open = END;
  for (let now = END; now < END + 5 * 60_000; now += 100) {
    if (now >= open + 1_000) {
      clock.received(second, open);
      open += 1_000;
    }
    const fetch = peek(clock, now);
    if (fetch === undefined) continue;
    assert.equal(fetch.cause, "settle");
    takeOne(clock, now);
    asked.push(now);
    clock.reread(second, { from: fetch.from, to: LATER }, now);
    clock.answered(fetch, "done", now);
  }
  const first = OPEN + 1_000 + SETTLE_MS + REREAD_SLACK_MS;
  assert.deepEqual(asked, [first, first + REREAD_SLACK_MS + 1_000]);
});

test("a settling candle that cannot be read is asked for in growing pauses and never given up", () => {
  const clock = watching(true);
  clock.received(minute, OPEN, END + SETTLE_MS);
  clock.received(minute, END);
  let now = END + SETTLE_MS + REREAD_SLACK_MS;
  for (let turn = 0; turn < 20; turn++) {
    const fetch = takeOne(clock, now);
    assert.equal(fetch.from, OPEN);
    clock.answered(fetch, "failed", now);
    const next = clock.nextDueTime() ?? Number.NaN;
    assert.ok(next >= now + MIN_RETRY_MS && next <= now + MAX_RETRY_MS);
    now = next;
    // Meanwhile the stream goes on.
    clock.received(minute, openTimeAt("1m", now) - 60_000);
  }
});

test("1s by polling: every early candle is read again soon, by requests that go anyway", () => {
  const second: Series = { ...minute, timeframe: "1s" };
  const clock = new CloseClock();
  clock.track(second, OPEN);
  const early = new Map<number, number>();
  let rereadCount = 0;
  const end = OPEN + 5 * 60_000;
  for (let now = OPEN + 1_000 + POLL_DELAY_MS; now < end; now += 1_000) {
    const next = clock.nextOf(second);
    const fetch = takeOne(clock, now);
    assert.equal(fetch.cause, "deadline");
    // Every second its own answer, from the candle that is due on: early, for it has just closed.
    clock.received(second, next, next + 1_000 + SETTLE_MS);
    early.set(next, next + 1_000 + SETTLE_MS);
    clock.reread(second, { from: fetch.from, to: LATER }, now);
    for (const [openTime, settleTime] of [...early]) {
      assert.ok(settleTime > now || openTime >= fetch.from, "settled and left out");
      if (settleTime > now) continue;
      early.delete(openTime);
      rereadCount += 1;
    }
    clock.answered(fetch, "done", now);
    assert.equal(clock.nextDueTime(), now + 1_000, "the next close, and nothing before it");
  }
  assert.equal(rereadCount, (end - OPEN - SETTLE_MS) / 1_000 - 1);
});

test("a stretch that the ledger explains is not asked for", () => {
  const clock = watching(false);
  clock.received(minute, OPEN + 10 * 60_000);
  clock.explained(minute, { from: OPEN, to: OPEN + 10 * 60_000 });
  assert.equal(clock.nextOf(minute), OPEN + 11 * 60_000);
  assert.equal(peek(clock, OPEN + 11 * 60_000), undefined);
});

test("a series that is not tracked is an error", () => {
  const clock = new CloseClock();
  assert.equal(clock.nextDueTime(), undefined);
  assert.deepEqual(
    clock.takeDue(END, () => true),
    [],
  );
  assert.throws(() => clock.nextOf(minute), RangeError);
  assert.throws(() => clock.received(minute, OPEN), RangeError);
  assert.throws(() => clock.reread(minute, { from: OPEN, to: END }, END), RangeError);
});
