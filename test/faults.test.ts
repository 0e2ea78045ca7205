import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Series } from "../src/core/series.ts";
import { seriesKey } from "../src/core/series.ts";
import { openTimeAt } from "../src/core/timeframe.ts";
import {
  type Fault,
  SeededMarket,
  type Simulator,
  seededSymbols,
  startSimulator,
} from "../src/simulator/index.ts";
import { scaledClock } from "./support/clocks.ts";
import { binanceSeries, compareWithMarket, LiveStack } from "./support/live-stack.ts";
import { withDatabase } from "./support/postgres.ts";

const SPEED = 20;
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const SYMBOLS = ["BTCUSDT", "ETHUSDT", "NXSBTC"];
const SERIES: Series[] = [
  ...SYMBOLS.map((symbol) => binanceSeries(symbol, "1s")),
  ...SYMBOLS.map((symbol) => binanceSeries(symbol, "1m")),
];
/** R4: within 90 s of not being whole the status says so. A candle that closed so long ago is stored, or it is a lie. */
const HONEST_MS = 90 * SECOND;

interface Scene {
  readonly simulator: Simulator;
  start(): Promise<LiveStack>;
  /** Lets exchange time go on and checks every few seconds that no `active` is a lie. */
  watch(stack: LiveStack, ms: number): Promise<Set<string>>;
  /** Table = exchange, and the exchange saw no sin. @returns how many candles are equal */
  check(stack: LiveStack): Promise<string>;
}

async function withScene(run: (scene: Scene) => Promise<void>, speed = SPEED): Promise<void> {
  const clock = scaledClock(speed);
  const market = new SeededMarket({
    symbols: seededSymbols(SYMBOLS),
    listedAt: Date.now() - 2 * 86_400_000,
  });
  const simulator = await startSimulator({ market, clock });
  const none = new AbortController().signal;
  let running: LiveStack | undefined;
  await withDatabase(async ({ url }) => {
    const watch = async (stack: LiveStack, ms: number): Promise<Set<string>> => {
      const words = new Set<string>();
      const end = simulator.now() + ms;
      while (simulator.now() < end) {
        await clock.sleep(4 * SECOND, none);
        const statuses = await stack.statuses();
        for (const series of SERIES) {
          const word = statuses.get(seriesKey(series))?.word ?? "unknown";
          words.add(word);
          if (word !== "active") continue;
          const mustBe = openTimeAt(series.timeframe, simulator.now() - HONEST_MS) - 1;
          const [newest] = await stack.store.latest(series, 1);
          assert.ok(
            newest !== undefined && newest.candle.openTime >= openTimeAt(series.timeframe, mustBe),
            `${seriesKey(series)} is called active, and its newest candle is ${newest?.candle.openTime}`,
          );
        }
      }
      return words;
    };
    try {
      await run({
        simulator,
        start: async () => {
          running = await LiveStack.start({
            simulator,
            clock,
            databaseUrl: url,
            series: SERIES,
            historyMs: () => 10 * MINUTE,
          });
          return running;
        },
        watch,
        check: async (stack) => {
          await stack.allActive(10 * MINUTE);
          const until = simulator.now() - 30 * SECOND;
          // From where ingestion wants each series: it takes a moment to start, and exchange time runs fast here.
          const { series: facts } = await stack.store.facts();
          const from = Math.max(...facts.map(({ wantedFrom }) => wantedFrom ?? 0));
          assert.ok(from > 0 && from < until);
          let candles = 0;
          for (const series of SERIES) {
            const { candles: count, ...differences } = await compareWithMarket(
              stack.store,
              market,
              series,
              { from, until },
            );
            assert.deepEqual(differences, { lost: [], extra: [], wrong: [] });
            candles += count;
          }
          const { violations, maxWeightPerMinute } = simulator.journal.counts();
          assert.deepEqual(violations, {});
          assert.ok(maxWeightPerMinute <= 5_400, `weight ${maxWeightPerMinute}`);
          return `${candles} candles equal, 0 lost, 0 extra, 0 wrong; weight ≤ ${maxWeightPerMinute}; violations 0`;
        },
      });
    } finally {
      await running?.stop();
      await simulator.close();
    }
  });
}

const STREAM_FAULTS: readonly (readonly [string, Fault])[] = [
  ["cut (1006)", { kind: "drop", code: 1006 }],
  ["closed (1000)", { kind: "drop", code: 1000 }],
  ["closed (1001)", { kind: "drop", code: 1001 }],
  ["cut in the middle of a frame", { kind: "cutMidFrame" }],
  ["shut down with notice", { kind: "serverShutdown" }],
  ["silent while pings go on", { kind: "silence", forMs: 3 * MINUTE }],
  ["dead without a word", { kind: "halfOpen", forMs: 2 * MINUTE }],
  ["without closing frames", { kind: "missingFinal", forMs: 3 * MINUTE }],
  [
    "with half of the closing frames",
    { kind: "missingFinal", probability: 0.5, forMs: 3 * MINUTE },
  ],
  ["with late closing frames", { kind: "lateFinal", ms: 12 * SECOND, forMs: 2 * MINUTE }],
  ["with every closing frame twice", { kind: "duplicateFinal", forMs: 2 * MINUTE }],
  ["with stale frames after the closing ones", { kind: "staleForming", forMs: 2 * MINUTE }],
  ["refused", { kind: "refuseUpgrades", status: 503, forMs: 2 * MINUTE }],
];

describe("faults of the stream", () => {
  test("each heals, and the status never says active while it is not", async (t) => {
    await withScene(async ({ simulator, start, watch, check }) => {
      const stack = await start();
      await stack.allActive(10 * MINUTE);
      for (const [name, fault] of STREAM_FAULTS) {
        simulator.faults.set(fault);
        if (fault.kind === "refuseUpgrades") simulator.faults.set({ kind: "drop", code: 1006 });
        await watch(stack, 75 * SECOND);
        t.diagnostic(`${name}: ${await check(stack)}`);
        simulator.faults.clear();
      }
    });
  });
});

describe("faults of REST", () => {
  test("429, then 418, then HTML, with the stream cut: no request in a hold, nothing lost", async (t) => {
    await withScene(async ({ simulator, start, watch, check }) => {
      const stack = await start();
      await stack.allActive(10 * MINUTE);
      simulator.faults.set({ kind: "rest", answer: "429", retryAfter: 30, count: 1 });
      simulator.faults.set({ kind: "drop", code: 1006 });
      const during429 = await watch(stack, 50 * SECOND);
      simulator.faults.set({ kind: "ban", ms: 2 * MINUTE });
      simulator.faults.set({ kind: "refuseUpgrades", status: 403, forMs: 90 * SECOND });
      simulator.faults.set({ kind: "drop", code: 1006 });
      const duringBan = await watch(stack, 100 * SECOND);
      simulator.faults.set({ kind: "rest", answer: "html", forMs: MINUTE });
      simulator.faults.set({ kind: "rest", answer: "truncated", forMs: MINUTE });
      simulator.faults.set({ kind: "drop", code: 1006 });
      const duringHtml = await watch(stack, 80 * SECOND);
      simulator.faults.clear();
      assert.ok(duringBan.has("banned"), [...duringBan].join(" "));
      t.diagnostic(
        `statuses: 429 ${[...during429]}; ban ${[...duringBan]}; html ${[...duringHtml]}`,
      );
      t.diagnostic(await check(stack));
    });
  });

  test("a ban is obeyed across a restart", async (t) => {
    // A restart takes the rest of a ban from the database's clock, which does not run faster: true time here.
    await withScene(async ({ simulator, start, watch, check }) => {
      const first = await start();
      await first.allActive(MINUTE);
      simulator.faults.set({ kind: "ban", ms: 20 * SECOND });
      simulator.faults.set({ kind: "drop", code: 1006 });
      await watch(first, 8 * SECOND);
      const told = simulator.journal.counts().requests["/api/v3/klines 418"] ?? 0;
      assert.ok(told > 0, "no request met the ban");
      await first.stop();
      const second = await start();
      await watch(second, 8 * SECOND);
      const { requests } = simulator.journal.counts();
      assert.equal(requests["/api/v3/klines 418"], told);
      assert.equal(requests["/api/v3/time 418"], undefined);
      t.diagnostic(await check(second));
    }, 1);
  });

  test("a replica that lags after each close never puts an unfinished candle into the table", async (t) => {
    await withScene(async ({ simulator, start, watch, check }) => {
      simulator.faults.set({ kind: "restLag", ms: 8 * SECOND });
      simulator.faults.set({ kind: "missingFinal", probability: 0.5 });
      const stack = await start();
      await watch(stack, 2 * MINUTE);
      simulator.faults.set({ kind: "drop", code: 1006 });
      await watch(stack, MINUTE);
      simulator.faults.clear();
      t.diagnostic(await check(stack));
    });
  });
});
