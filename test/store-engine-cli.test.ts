import assert from "node:assert/strict";
import { test } from "node:test";
import { openStore, type Store } from "../src/store/index.ts";
import { candleAt } from "./conformance/store-suite.ts";
import { withDatabase } from "./support/postgres.ts";
import { runProgram } from "./support/program.ts";

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const TODAY = Math.floor(Date.now() / DAY_MS) * DAY_MS;
const SERIES = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1h" } as const;

type Run = (
  ...args: string[]
) => Promise<{ status: number | null; stdout: string; stderr: string }>;

/** A database of its own with 60 days of 1h, and the program on it. */
async function withCandles(work: (run: Run, store: Store) => Promise<void>): Promise<void> {
  await withDatabase(async ({ url }) => {
    const store = await openStore({ url });
    try {
      const from = TODAY - 60 * DAY_MS;
      await store.write(
        Array.from({ length: 1_440 }, (_, n) => candleAt(SERIES, from + n * HOUR_MS, "rest")),
        [],
      );
      await work((...args) => runProgram(["db", ...args], { DATABASE_URL: url }), store);
    } finally {
      await store.close();
    }
  });
}

test("db compress on plain PostgreSQL: one line, a remedy, exit 1; --off has nothing to do", async () => {
  await withCandles(async (run) => {
    const refused = await run("compress");
    assert.deepEqual([refused.status, refused.stdout], [1, ""]);
    assert.match(
      refused.stderr,
      /^error E_DB_FEATURE: candles cannot be compressed here: the server does not have TimescaleDB, and plain PostgreSQL .*\n {2}→ .*\n$/,
    );
    const off = await run("compress", "--off");
    assert.equal(off.status, 0, off.stderr);
    assert.match(off.stdout, /^there was no policy\nnothing is compressed here: /);
    const status = await run("status");
    assert.match(status.stdout, /^candles {5}[\d.]+ kB; not compressed: the server does not have/m);
    const { compression } = JSON.parse((await run("status", "--json")).stdout);
    assert.ok(compression.totalBytes > 0 && compression.obstacle !== undefined);
  });
});

test("db retain: shown before, done, shown after, and taken back", async () => {
  await withCandles(async (run, store) => {
    assert.equal((await run("retain")).stdout, "everything that was stored is kept\n");
    const planned = await run("retain", "1h=30d", "--dry-run");
    assert.equal(planned.status, 0, planned.stderr);
    assert.match(
      planned.stdout,
      /^SERIES +KEPT FROM +CANDLES BEFORE +REPLACED VERSIONS\nBTCUSDT 1h .* 720 +0\n$/,
    );
    assert.equal(await store.count(SERIES), 1_440);
    const done = await run("retain", "1h=30d", "--json");
    const { candleCount, excess } = JSON.parse(done.stdout);
    assert.deepEqual([candleCount, excess[0].before], [720, TODAY - 30 * DAY_MS]);
    assert.equal(await store.count(SERIES), 720);
    assert.match(
      (await run("retain", "1h=30d")).stdout,
      /^removed 0 candles and 0 replaced versions\n$/,
    );
    const { notKept } = JSON.parse((await run("retain", "--json")).stdout);
    assert.deepEqual(notKept[0].range, { from: TODAY - 60 * DAY_MS, to: TODAY - 30 * DAY_MS });
    const again = await run("retain", "1h=all");
    assert.equal(
      again.stdout,
      '720 candles are due to be fetched again: by "ingest" for the series that it collects, by "fill-gaps" for all\n',
    );
    assert.equal((await store.gaps(SERIES))[0]?.reason, "not-fetched");
  });
});

test("db retain: of other exchanges nothing is promised to be fetched", async () => {
  await withCandles(async (run, store) => {
    const other = { ...SERIES, exchange: "kraken" };
    await store.write([candleAt(other, TODAY - 40 * DAY_MS, "csv")], []);
    await run("retain", "1h=30d");
    const again = await run("retain", "1h=all", "--dry-run");
    assert.match(
      again.stdout,
      /^720 candles would be due .*\n1 candles of other exchanges than binance would be wanted again; nothing fetches them: .*"import-csv --again"\n$/,
    );
  });
});

test("db rollup: made, listed, dropped", async () => {
  await withCandles(async (run) => {
    const made = await run("rollup", "3h", "--from", "1h");
    assert.equal(made.status, 0, made.stderr);
    assert.match(
      made.stdout,
      /^TIMEFRAME .*\n3h +1h +derived_candles_3h +computed when it is read\n$/,
    );
    const empty = await run("rollup", "45m");
    assert.match(empty.stdout, /no candle of 1m is stored yet: the view is empty until then/);
    const { rollups } = JSON.parse((await run("rollup", "--list", "--json")).stdout);
    assert.deepEqual(
      rollups.map(({ timeframe, source, kind }: Record<string, string>) => [
        timeframe,
        source,
        kind,
      ]),
      [
        ["3h", "1h", "read"],
        ["45m", "1m", "read"],
      ],
    );
    assert.equal((await run("rollup", "--drop", "45m")).stdout, "dropped 45m\n");
    assert.equal((await run("rollup", "--drop", "45m")).stdout, "there is no view of 45m\n");
  });
});

const misuses: readonly (readonly [readonly string[], RegExp])[] = [
  [["compress", "--after", "2h"], /--after: 2h is too soon/],
  [["retain", "45m=3d"], /"45m=3d" is not TIMEFRAME=AGE/],
  [["retain", "1m=5h"], /1m=5h keeps too little\n.*1d or more/],
  [["retain", "1w=8d"], /1w=8d keeps too little\n.*14d or more/],
  [["retain", "1m=3d", "1m=4d"], /1m is named twice/],
  [["rollup", "45m", "--list"], /give a timeframe, or --list, or --drop/],
  [["rollup", "5m"], /"5m" is a timeframe of the exchange: its own candles are stored/],
  [
    ["rollup", "45m", "--from", "30m"],
    /45m cannot be made of candles of 30m\n.*15m, 5m, 3m, 1m, 1s/,
  ],
];

test("wrong use ends with status 2 before any database is opened", {
  concurrency: 3,
}, async (t) => {
  await Promise.all(
    misuses.map(([args, says]) =>
      t.test(args.join(" "), async () => {
        const { status, stderr } = await runProgram(["db", ...args], {
          DATABASE_URL: "postgresql://nobody@127.0.0.1:1/nowhere",
        });
        assert.match(stderr, says);
        assert.equal(status, 2);
      }),
    ),
  );
});
