import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { instant, series } from "../../test/support/arbitraries.ts";
import {
  CONCERN_OF,
  CONCERNS,
  confirmedShare,
  DEAD_AFTER_MS,
  HEARTBEAT_MS,
  LATENESS_MS,
  mostUrgentFirst,
  type RunFacts,
  type SeriesFacts,
  type SeriesStatus,
  type StatusWord,
  seriesStatus,
} from "./status.ts";
import { nextOpenTime, openTimeAt, shiftOpenTime } from "./timeframe.ts";

/** R4: how long after it ceases to be true a status may still say `active`. */
const HONEST_WITHIN_MS = 90_000;

interface Facts {
  readonly facts: SeriesFacts;
  readonly run: RunFacts;
}

/** `undefined` or a value, under a key: absent facts are absent keys. */
const maybe = <K extends string, V>(
  key: K,
  value: fc.Arbitrary<V>,
): fc.Arbitrary<{ [P in K]?: V }> =>
  fc
    .option(value, { nil: undefined })
    .map((given) => (given === undefined ? {} : ({ [key]: given } as { [P in K]?: V })));

/** Some time ago or ahead: around the limits that matter, or any. */
const ago = (): fc.Arbitrary<number> =>
  fc.oneof(
    fc.integer({ min: -2_000, max: 100_000 }),
    fc.constantFrom(0, LATENESS_MS, LATENESS_MS + 1, DEAD_AFTER_MS, DEAD_AFTER_MS + 1),
    fc.integer({ min: -86_400_000, max: 400 * 86_400_000 }),
  );

const anyFacts = (): fc.Arbitrary<Facts> =>
  fc.tuple(series(), instant()).chain(([of, now]) => {
    const before = ago().map((ms) => now - ms);
    const cell = fc
      .oneof(
        { weight: 4, arbitrary: fc.integer({ min: -2, max: 3 }) },
        fc.integer({ min: -1_000, max: 10 }),
      )
      .map((count) => shiftOpenTime(of.timeframe, now, count));
    const parts = fc.tuple(
      fc.record({
        series: fc.constant(of),
        isConfigured: fc.constantFrom(true, true, true, false),
        isStreamed: fc.boolean(),
        isCatchingUp: fc.boolean(),
        openGapCount: fc.constantFrom(0, 0, 0, 1, 7),
        confirmedGapCount: fc.nat(3),
      }),
      maybe("wantedFrom", cell),
      maybe("next", cell),
      maybe("newestOpenTime", cell),
      maybe("haltedStatus", fc.constantFrom("BREAK", "HALT", "CANCEL_ONLY")),
      maybe(
        "problem",
        fc.constantFrom("no frames for 60 s", "exchange error\r\n\t503\n", "\n", ""),
      ),
      maybe("problemSinceTime", before),
    );
    const run = fc.tuple(
      fc.record({
        host: fc.constant("host"),
        pid: fc.nat(),
        mode: fc.constantFrom("websocket" as const, "polling" as const),
        startedTime: before,
        heartbeatTime: before,
        now: fc.constant(now),
      }),
      maybe("stoppedTime", before),
      maybe(
        "bannedUntilTime",
        ago().map((ms) => now + ms),
      ),
    );
    return fc.record({
      facts: parts.map((each): SeriesFacts => Object.assign({}, ...each)),
      run: run.map((each): RunFacts => Object.assign({}, ...each)),
    });
  });

/** Facts of a series that is as it should be, `lateMs` after the close of the newest candle that is not stored. */
function healthy({ facts, run }: Facts, beforeDeadlineMs: number): Facts {
  const { timeframe } = facts.series;
  const { problem, haltedStatus, problemSinceTime, ...rest } = facts;
  const { stoppedTime, bannedUntilTime, ...alive } = run;
  const next = openTimeAt(timeframe, run.now - LATENESS_MS + beforeDeadlineMs);
  return {
    facts: {
      ...rest,
      isConfigured: true,
      isStreamed: true,
      openGapCount: 0,
      next,
      newestOpenTime: shiftOpenTime(timeframe, next, -1),
    },
    run: { ...alive, heartbeatTime: run.now - HEARTBEAT_MS },
  };
}

const RUNS = { numRuns: 2_000 };

test("active means: configured, alive, not stopped, every candle stored that must exist, no open gap", () => {
  let activeCount = 0;
  fc.assert(
    fc.property(anyFacts(), ({ facts, run }) => {
      const { word } = seriesStatus(facts, run);
      if (word !== "active") return;
      activeCount += 1;
      assert.ok(facts.isConfigured);
      assert.equal(run.stoppedTime, undefined);
      assert.ok(Math.abs(run.now - run.heartbeatTime) <= DEAD_AFTER_MS, "no sign of life");
      assert.equal(facts.openGapCount, 0);
      assert.ok(facts.next !== undefined);
      assert.ok(facts.next >= openTimeAt(facts.series.timeframe, run.now - LATENESS_MS));
    }),
    RUNS,
  );
  assert.ok(activeCount > 20, `the property was hardly tried: ${activeCount}`);
});

test("what needs a look comes first, and series of one concern stay in their order", () => {
  const words = Object.keys(CONCERN_OF) as StatusWord[];
  const anySeries = fc.array(
    fc.record({ id: fc.nat(), status: fc.record({ word: fc.constantFrom(...words) }) }),
  );
  fc.assert(
    fc.property(anySeries, (series) => {
      const rank = ({ status }: { status: { word: StatusWord } }): number =>
        CONCERNS.indexOf(CONCERN_OF[status.word]);
      // Array.prototype.sort is stable.
      assert.deepEqual(
        mostUrgentFirst(series),
        [...series].sort((a, b) => rank(a) - rank(b)),
      );
    }),
  );
});

test("every word but active has its reason", () => {
  fc.assert(
    fc.property(anyFacts(), ({ facts, run }) => {
      for (const each of [run, undefined]) {
        const { word, reason } = seriesStatus(facts, each);
        if (word !== "active") assert.notEqual(reason, "");
        assert.doesNotMatch(reason, /^\s|\s$|[^\S ]| {2}|^;/, "one line");
        assert.doesNotMatch(reason, /undefined|NaN|Infinity|-\d/);
      }
    }),
    RUNS,
  );
});

test("within 90 s of its death an ingester's series are not active, and the reason names it", () => {
  fc.assert(
    fc.property(anyFacts(), fc.nat(HEARTBEAT_MS), fc.nat(86_400_000), (given, sinceBeat, later) => {
      const { facts, run } = healthy(given, 0);
      // It died somewhere between two signs of life.
      const heartbeatTime = run.now - HONEST_WITHIN_MS - later - sinceBeat;
      const { word, reason } = seriesStatus(facts, { ...run, heartbeatTime });
      assert.equal(word, "stale");
      assert.match(reason, new RegExp(`pid ${run.pid} on ${run.host}`));
    }),
    { numRuns: 500 },
  );
});

test("a sign of life from the future is none: the database's clock was set back", () => {
  fc.assert(
    fc.property(anyFacts(), fc.integer({ min: DEAD_AFTER_MS + 1, max: 1e10 }), (given, aheadMs) => {
      const { facts, run } = healthy(given, 0);
      const { word } = seriesStatus(facts, { ...run, heartbeatTime: run.now + aheadMs });
      assert.equal(word, "stale");
    }),
    { numRuns: 500 },
  );
});

test("90 s after the close of a candle that is not stored, a series is not active", () => {
  fc.assert(
    fc.property(anyFacts(), fc.nat(86_400_000), ({ facts, run }, later) => {
      const { timeframe } = facts.series;
      const next = openTimeAt(timeframe, run.now);
      const now = nextOpenTime(timeframe, next) + HONEST_WITHIN_MS + later;
      const { word } = seriesStatus({ ...facts, next }, { ...run, now });
      assert.notEqual(word, "active");
      const atLast = nextOpenTime(timeframe, next) + LATENESS_MS;
      assert.notEqual(seriesStatus({ ...facts, next }, { ...run, now: atLast }).word, "active");
    }),
    { numRuns: 500 },
  );
});

test("a healthy series is active, also in the seconds in which its newest candle is on its way", () => {
  fc.assert(
    fc.property(anyFacts(), fc.integer({ min: 0, max: LATENESS_MS }), (given, early) => {
      const { facts, run } = healthy(given, early);
      const status = seriesStatus(facts, run);
      assert.equal(status.word, "active");
      assert.equal(status.reason, "");
    }),
    { numRuns: 500 },
  );
});

test("a series without its WebSocket is active as long as REST keeps up, and says so", () => {
  fc.assert(
    fc.property(anyFacts(), (given) => {
      const { facts, run } = healthy(given, 0);
      const unlinked = { ...facts, isStreamed: false };
      const live = seriesStatus(unlinked, { ...run, mode: "websocket" });
      assert.equal(live.word, "active");
      assert.notEqual(live.reason, "");
      assert.equal(seriesStatus(unlinked, { ...run, mode: "polling" }).reason, "");
    }),
    { numRuns: 200 },
  );
});

test("the lag is now less the newest close that is stored, and there is none while nothing is", () => {
  fc.assert(
    fc.property(anyFacts(), ({ facts, run }) => {
      fc.pre(facts.isConfigured);
      const { lagMs } = seriesStatus(facts, run);
      if (facts.newestOpenTime === undefined) return assert.equal(lagMs, undefined);
      const newestClose = nextOpenTime(facts.series.timeframe, facts.newestOpenTime);
      assert.equal(lagMs, Math.max(0, run.now - newestClose));
    }),
    { numRuns: 1_000 },
  );
});

const NOW = 1_783_900_800_000;
const minute = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" } as const;

const factsOf = (facts: Partial<SeriesFacts>): SeriesFacts => ({
  ...{ series: minute, isConfigured: true, isStreamed: true, isCatchingUp: false },
  ...{ openGapCount: 0, confirmedGapCount: 0 },
  ...{ wantedFrom: NOW - 3_600_000, next: NOW - 60_000, newestOpenTime: NOW - 120_000 },
  ...facts,
});

const runOf = (run: Partial<RunFacts>): RunFacts => ({
  ...{ host: "host", pid: 7, mode: "websocket", startedTime: NOW - 3_600_000 },
  ...{ heartbeatTime: NOW - 1_000, now: NOW },
  ...run,
});

const say = (facts: Partial<SeriesFacts>, run: Partial<RunFacts> = {}): SeriesStatus =>
  seriesStatus(factsOf(facts), runOf(run));

test("each state is told by its own word", () => {
  const since = (ms: number) => ({ next: NOW - ms, newestOpenTime: NOW - ms - 60_000 });
  const late = since(180_000);
  const lost = since(3_600_000);
  const problem = { problem: "exchange error 503", problemSinceTime: NOW - 90_000 };
  const expected: readonly (readonly [StatusWord, RegExp, SeriesStatus])[] = [
    ["active", /^$/, say({})],
    ["lagging", /3 min late/, say(late)],
    ["stale", /no new candle for 60 min/, say(lost)],
    ["stale", /no new candle for 3 h/, say(since(3 * 3_600_000))],
    ["stale", /no new candle for 71 h/, say(since(71 * 3_600_000))],
    ["stale", /no new candle for 3 d/, say(since(72 * 3_600_000))],
    ["stale", /no new candle for 119 min/, say(since(119 * 60_000))],
    ["stale", /no new candle for 2 h/, say(since(120 * 60_000))],
    ["stale", /no new candle for 5 min/, say(since(300_001))],
    ["active", /^$/, say({}, { heartbeatTime: NOW - DEAD_AFTER_MS })],
    ["lagging", /newest candle is 5 min late/, say(since(300_000))],
    ["error", /exchange error 503 \(for 90 s\)/, say({ ...late, ...problem })],
    ["stale", /exchange error 503/, say({ ...lost, ...problem })],
    ["halted", /BREAK/, say({ ...late, haltedStatus: "BREAK" })],
    ["banned", /another 2 min/, say(late, { bannedUntilTime: NOW + 120_000 })],
    ["lagging", /late/, say(late, { bannedUntilTime: NOW })],
    ["backfilling", /60 min of history/, say({ ...lost, isCatchingUp: true })],
    [
      "backfilling",
      /history still to come; exchange error 503$/,
      say({ ...lost, ...problem, isCatchingUp: true }),
    ],
    ["gap", /1 open gap /, say({ openGapCount: 1 })],
    ["gap", /2 open gaps/, say({ openGapCount: 2 })],
    ["paused", /stopped 5 min ago/, say({}, { stoppedTime: NOW - 300_000 })],
    ["paused", /not ingested/, say({ isConfigured: false })],
    ["stale", /no sign of life .* for 46 s/, say({}, { heartbeatTime: NOW - 46_000 })],
  ];
  for (const [word, reason, status] of expected) {
    assert.equal(status.word, word, status.reason);
    assert.match(status.reason, reason);
  }
});

test("a hole behind newer candles that is not in the ledger yet is told as such, not as a late candle", () => {
  const hole = { next: NOW - 180_000 };
  const missing =
    /^a stretch from 3 min ago on is missing behind newer candles; being fetched by REST$/;
  for (const newestOpenTime of [NOW - 180_000, NOW - 120_000, NOW - 60_000]) {
    const status = say({ ...hole, newestOpenTime });
    assert.equal(status.word, "lagging");
    assert.match(status.reason, missing);
  }
  const before = say({ ...hole, newestOpenTime: NOW - 240_000 });
  assert.match(before.reason, /^newest candle is 3 min late/);
  const long = say({ next: NOW - 3_600_000, newestOpenTime: NOW - 60_000 });
  assert.equal(long.word, "stale");
  assert.match(long.reason, /^a stretch from 60 min ago on is missing behind newer candles; being/);
  assert.equal(long.lagMs, 0);
  // What keeps it from being fetched comes first.
  const problem = say({ ...hole, newestOpenTime: NOW - 60_000, problem: "exchange error 503" });
  assert.match(problem.reason, /^exchange error 503; tried again/);
});

test("during a ban nobody is told that REST stands in", () => {
  const banned = { bannedUntilTime: NOW + 60_000 };
  const noStream = say({ isStreamed: false }, banned);
  assert.equal(noStream.word, "active");
  assert.match(noStream.reason, /^no WebSocket .* refuses requests for another 60 s; none is sent/);
  assert.match(say({ isStreamed: false }).reason, /candles come by REST at their close/);
  const { wantedFrom: _from, next: _next, ...begun } = factsOf({ problem: "exchange error 503" });
  const start = seriesStatus(begun, runOf(banned));
  assert.equal(start.word, "banned");
  assert.match(start.reason, /refuses requests for another 60 s/);
  assert.equal(seriesStatus(begun, runOf({})).word, "error");
});

test("a problem that has just begun is told without its age", () => {
  const late = { next: NOW - 180_000, newestOpenTime: NOW - 240_000, problem: "no network" };
  const reason = (ms: number): string => say({ ...late, problemSinceTime: NOW - ms }).reason;
  assert.equal(reason(400), "no network; tried again by itself");
  assert.equal(reason(-400), "no network; tried again by itself");
  assert.equal(reason(5_000), "no network (for 5 s); tried again by itself");
});

test("the confirmed share is that of the candles that ought to be there by now", () => {
  const from = NOW - 10 * 60_000;
  const share = (facts: Partial<SeriesFacts>): number | undefined =>
    confirmedShare(factsOf({ wantedFrom: from, next: NOW, ...facts }));
  assert.equal(share({}), 0);
  assert.equal(share({ confirmedTo: from + 4 * 60_000 }), 0.4);
  assert.equal(share({ confirmedTo: NOW + 60_000 }), 1);
  assert.equal(share({ confirmedTo: from - 60_000 }), 0);
  assert.equal(share({ wantedFrom: NOW, next: NOW }), undefined);
});

test("a problem of several lines is told on one", () => {
  const problem = "  <html>\r\n\t<h1>502\u00a0Bad Gateway</h1>\u2028\n</html>\n";
  const flat = "<html> <h1>502 Bad Gateway</h1> </html>";
  const late = { next: NOW - 180_000, newestOpenTime: NOW - 240_000, problem };
  assert.equal(say(late).reason, `${flat}; tried again by itself`);
  assert.match(
    say({ ...late, isCatchingUp: true }).reason,
    /still to come; <html> <h1>502 Bad Gateway<\/h1> <\/html>$/,
  );
  assert.equal(say({ isStreamed: false, problem }).reason, flat);
  const begun: SeriesFacts = {
    ...{ series: minute, isConfigured: true, isStreamed: false, isCatchingUp: false, problem },
    ...{ openGapCount: 0, confirmedGapCount: 0 },
  };
  const run: RunFacts = {
    ...{ host: "host", pid: 7, mode: "websocket", now: NOW },
    ...{ startedTime: NOW - 10_000, heartbeatTime: NOW - 1_000 },
  };
  assert.equal(seriesStatus(begun, run).reason, `${flat}; tried again by itself`);
  // Blank, it says nothing: as if there were none.
  assert.match(say({ ...late, problem: " \n" }).reason, /^newest candle is 3 min late/);
});

test("a series that has just begun waits for the exchange, then for its first candle", () => {
  const { series: of, ...nothing } = { series: minute, isConfigured: true };
  const facts = {
    ...{ ...nothing, series: of, isStreamed: false, isCatchingUp: false },
    ...{ openGapCount: 0, confirmedGapCount: 0 },
  };
  const run: RunFacts = {
    ...{ host: "host", pid: 7, mode: "websocket" },
    ...{ startedTime: NOW - 10_000, heartbeatTime: NOW - 1_000, now: NOW },
  };
  assert.equal(seriesStatus(facts, run).word, "starting");
  const unreachable = seriesStatus({ ...facts, problem: "cannot resolve host" }, run);
  assert.equal(unreachable.word, "error");
  assert.match(unreachable.reason, /cannot resolve host/);
  const wanted = { ...facts, wantedFrom: NOW - 120_000, next: NOW - 120_000 };
  assert.equal(seriesStatus(wanted, run).word, "starting");
  assert.equal(seriesStatus(wanted, { ...run, startedTime: NOW - 60_000 }).word, "lagging");
  assert.equal(seriesStatus(wanted, undefined).word, "paused");
});

test("dead, stopped or not configured, a series is not called by what it was last", () => {
  fc.assert(
    fc.property(anyFacts(), ({ facts, run }) => {
      const alive = { ...facts, isConfigured: true };
      assert.equal(seriesStatus(alive, { ...run, stoppedTime: run.now }).word, "paused");
      assert.equal(seriesStatus({ ...facts, isConfigured: false }, run).word, "paused");
      const { stoppedTime, ...unstopped } = run;
      const dead = { ...unstopped, heartbeatTime: run.now - DEAD_AFTER_MS - 1 };
      assert.equal(seriesStatus(alive, dead).word, "stale");
    }),
    { numRuns: 300 },
  );
});
