import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { inspect } from "node:util";
import { BlackTradeError, type ErrorCode } from "../src/core/errors.ts";
import { shedGap } from "../src/core/gaps.ts";
import {
  Database,
  maskPasswords,
  openStore,
  type Store,
  type StoreOptions,
} from "../src/store/index.ts";
import { INGEST_LOCK } from "../src/store/locks.ts";
import { candleAt, freshSeries } from "./conformance/store-suite.ts";
import { type TestDatabase, testSetting, withDatabase } from "./support/postgres.ts";
import { startPostgresProxy } from "./support/postgres-proxy.ts";

const T0 = Date.UTC(2025, 0, 1);
const MINUTE_MS = 60_000;
const ALWAYS = { from: 0, to: Number.MAX_SAFE_INTEGER };
const CANARY = "S3CR3T!canary";

/** A store and a second connection of an administrator, on a database of their own. */
async function withStore(
  run: (scene: { store: Store; admin: Database; database: TestDatabase }) => Promise<void>,
  options: Partial<StoreOptions> = {},
): Promise<void> {
  await withDatabase(async (database) => {
    const admin = new Database({ url: database.url, poolSize: 2 });
    const store = await openStore({ url: database.url, ...options });
    try {
      await run({ store, admin, database });
    } finally {
      await store.close();
      await admin.close();
    }
  });
}

/** Checks the code, and that nothing of the error shows a secret. */
function refusal(code: ErrorCode, message: RegExp = /./): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof BlackTradeError, inspect(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    assert.doesNotMatch(error.message, /\n/);
    assert.ok(error.remedy.length > 10);
    assert.ok(
      !inspect(error, { depth: 10, showHidden: true }).includes(CANARY),
      "shows the password",
    );
    return true;
  };
}

const until = async (isTrue: () => Promise<boolean>): Promise<void> => {
  for (let tries = 0; !(await isTrue()); tries += 1) {
    assert.ok(tries < 500, "never came true");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

const blockedPids = async (admin: Database): Promise<number[]> =>
  (
    await admin.run<{ pid: number }>({
      text: `
        select pid from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`,
    })
  ).map(({ pid }) => pid);

describe("a write under faults of the server", () => {
  test("D2: a connection killed in the middle of a transaction leaves nothing; repeating stores it all", async () => {
    await withStore(async ({ store, admin }) => {
      const series = freshSeries();
      const batch = Array.from({ length: 50 }, (_, n) => candleAt(series, T0 + n * MINUTE_MS));
      await store.write(batch.slice(49), []);
      await admin.transaction(async (tx) => {
        await tx.run({ text: "update candles set volume = 1" });
        const writing = store.write(
          batch.map((row) => ({ ...row, source: "rest" as const })),
          [{ series, next: T0 + 50 * MINUTE_MS }],
        );
        const failed = assert.rejects(
          writing,
          refusal("E_DB_UNREACHABLE", /restarting|connection lost/),
        );
        await until(async () => (await blockedPids(admin)).length === 1);
        const [pid] = await blockedPids(admin);
        await admin.run({ text: "select pg_terminate_backend($1)", values: [pid] });
        await failed;
      });
      assert.equal(await store.count(series), 1);
      const { outcomes } = await store.write(batch, []);
      assert.equal(outcomes.filter((outcome) => outcome === "stored").length, 49);
    });
  });

  test("D3: an answer to COMMIT that is lost: the error says so, and repeating changes nothing", async () => {
    await withDatabase(async (database) => {
      const proxy = await startPostgresProxy(database.url);
      const store = await openStore({ url: proxy.url });
      const series = freshSeries();
      const batch = [candleAt(series, T0), candleAt(series, T0 + MINUTE_MS)];
      const marks = [{ series, next: T0 + 2 * MINUTE_MS }];
      proxy.cutCommits(true);
      await assert.rejects(store.write(batch, marks), (error) => {
        refusal("E_DB_UNREACHABLE", /whether the last commit stands is not known/)(error);
        assert.ok(error instanceof BlackTradeError);
        assert.equal(error.details.isCommitUnknown, true);
        return error.retryable;
      });
      proxy.cutCommits(false);
      assert.deepEqual(await store.range(series, ALWAYS, 10), batch);
      assert.deepEqual((await store.write(batch, marks)).outcomes, ["identical", "identical"]);
      await store.close();
      await proxy.close();
    });
  });

  test("D5: a deadlock with a foreign program is lost, waited out and won", async () => {
    const sleeps: number[] = [];
    const pacing = {
      sleep: async (ms: number) => {
        sleeps.push(ms);
      },
      random: () => 0.5,
    };
    await withStore(
      async ({ store, admin, database }) => {
        const name = database.url.match(/bt_test_\d+_\d+/)?.[0];
        await admin.run({ text: `alter database ${name} set deadlock_timeout = '50ms'` });
        const impatient = await openStore({ url: database.url, pacing });
        const series = freshSeries();
        const batch = [candleAt(series, T0), candleAt(series, T0 + MINUTE_MS)];
        await store.write(batch, []);
        let writing: Promise<unknown> | undefined;
        await admin.transaction(async (tx) => {
          await tx.run({ text: "set local deadlock_timeout = '10s'" });
          const update = "update candles set volume = 1 where open_time = candle_time($1)";
          await tx.run({ text: update, values: [T0 + MINUTE_MS] });
          writing = impatient.write(
            batch.map((row) => ({ ...row, source: "rest" as const })),
            [],
          );
          await until(async () => (await blockedPids(admin)).length === 1);
          await tx.run({ text: update, values: [T0] });
        });
        await writing;
        assert.ok(sleeps.length > 0, "there was no deadlock");
        const rows = await store.range(series, ALWAYS, 10);
        assert.ok(rows.every(({ source }) => source === "rest"));
        await impatient.close();
      },
      { pacing },
    );
  });

  test("D5: a batch that finds one row locked again and again is split; the rest is committed", async () => {
    await withStore(
      async ({ store, admin }) => {
        const series = freshSeries();
        const batch = [candleAt(series, T0), candleAt(series, T0 + MINUTE_MS)];
        await store.write(batch, []);
        const rest = batch.map((row) => ({ ...row, source: "rest" as const }));
        await admin.transaction(async (tx) => {
          await tx.run({
            text: "select from candles where open_time = candle_time($1) for update",
            values: [T0 + MINUTE_MS],
          });
          await assert.rejects(store.write(rest, []), (error) => {
            refusal("E_DB_FAILED", /55P03/)(error);
            return error instanceof BlackTradeError && error.retryable;
          });
        });
        const sources = (await store.range(series, ALWAYS, 10)).map(({ source }) => source);
        assert.deepEqual(sources, ["rest", "stream"]);
      },
      { deadlineMs: 120, pacing: { sleep: async () => undefined, random: () => 0 } },
    );
  });

  test("D5: the half of a batch that is committed says by itself that it is to be confirmed", async () => {
    await withStore(
      async ({ store, admin }) => {
        const series = freshSeries();
        const at = (n: number): number => T0 + n * MINUTE_MS;
        const known = [candleAt(series, at(1), "rest"), candleAt(series, at(5), "rest")];
        await store.write(known, []);
        await store.saveConfirmed(series, at(0), at(6), []);
        await admin.transaction(async (tx) => {
          await tx.run({
            text: "select from candles where open_time = candle_time($1) for update",
            values: [at(5)],
          });
          const batch = [candleAt(series, at(2)), candleAt(series, at(5))];
          await assert.rejects(
            store.write(batch, [{ series, next: at(6) }]),
            refusal("E_DB_FAILED", /55P03/),
          );
        });
        // The process may end here, and the next one would never hear of the candle.
        const facts = (await store.facts()).series.find(
          (one) => one.series.symbol === series.symbol,
        );
        assert.equal(await store.count(series), 3);
        assert.equal(facts?.confirmedTo, at(2));
        assert.equal(facts?.next, undefined, "watermarks wait for the whole");
      },
      { deadlineMs: 600, pacing: { sleep: async () => undefined, random: () => 0 } },
    );
  });

  test("D5: after a conflict the facts of series are locked in one order, whatever their order in the table", async () => {
    let conflictCount = 0;
    const pacing = {
      sleep: async () => {
        conflictCount += 1;
      },
      random: () => 0,
    };
    await withStore(
      async ({ store, admin }) => {
        const both = [freshSeries(), freshSeries()] as const;
        const [first, second] = both;
        for (const series of both) {
          await store.write([candleAt(series, T0)], [{ series, next: T0 + MINUTE_MS }]);
        }
        const idOf = "series_id = (select id from series where symbol = $1)";
        // The first one's row moves behind the second one's.
        await admin.run({
          text: `update ingestion_status set latency_ms = 1 where ${idOf}`,
          values: [first.symbol],
        });
        let writing: Promise<unknown> | undefined;
        await admin.transaction(async (tx) => {
          const lock = `select from ingestion_status where ${idOf} for update`;
          await tx.run({ text: lock, values: [first.symbol] });
          writing = store.write(
            both.map((series) => candleAt(series, T0 + MINUTE_MS)),
            both.map((series) => ({ series, next: T0 + 2 * MINUTE_MS })),
          );
          await until(async () => conflictCount > 0 && (await blockedPids(admin)).length === 1);
          await tx.run({ text: `${lock} nowait`, values: [second.symbol] });
        });
        await writing;
      },
      { deadlineMs: 1_500, pacing },
    );
  });

  test("a connection of its own whose first statement is refused is closed", async () => {
    await withDatabase(async (database) => {
      const admin = new Database({ url: database.url });
      const applicationName = "left-open";
      try {
        const [{ name } = { name: "" }] = await admin.run<{ name: string }>({
          text: "select current_database() as name",
        });
        await admin.run({ text: "create schema trap" });
        await admin.run({
          text: "create view trap.pg_stat_activity as select datname from pg_catalog.pg_database",
        });
        await admin.run({ text: `alter database ${name} set search_path = trap, pg_catalog` });
        await assert.rejects(admin.openSession(applicationName), refusal("E_DB_NOT_MIGRATED"));
        const count = async (): Promise<number> => {
          const [row] = await admin.run<{ count: number }>({
            text: "select count(*) as count from pg_catalog.pg_stat_activity where application_name = $1",
            values: [applicationName],
          });
          return row?.count ?? -1;
        };
        await until(async () => (await count()) === 0);
      } finally {
        await admin.close();
      }
    });
  });

  test("what fails at rows of a COPY is thrown as it is, and does not pass for a fault of the database", async () => {
    await withDatabase(async ({ url }) => {
      const database = new Database({ url, poolSize: 1 });
      const fault = new RangeError("a row that nobody thought of");
      const take = (): never => {
        throw fault;
      };
      try {
        const text = "copy (select generate_series(1, 100000)) to stdout (format binary)";
        const thrown = async (work: Promise<unknown>): Promise<unknown> =>
          work.then(() => undefined).catch((error: unknown) => error);
        assert.equal(await thrown(database.copyOut(text, take)), fault);
        assert.equal(await thrown(database.transaction((tx) => tx.copyOut(text, take))), fault);
        assert.deepEqual(await database.run({ text: "select 1 as one" }), [{ one: 1 }]);
      } finally {
        await database.close();
      }
    });
  });

  test("D13: one poison row among thousands costs a few statements", async () => {
    let statements = 0;
    await withStore(
      async ({ store }) => {
        const series = freshSeries();
        const batch = Array.from({ length: 6_000 }, (_, n) =>
          candleAt(series, T0 + n * MINUTE_MS, "rest", n === 4_321 ? { volume: "-1" } : {}),
        );
        statements = 0;
        const { outcomes, rejections } = await store.write(batch, []);
        assert.ok(statements < 100, `${statements} statements`);
        assert.deepEqual([...rejections.keys()], [4_321]);
        assert.match(rejections.get(4_321)?.detail ?? "", /candles_volumes/);
        assert.equal(outcomes.filter((outcome) => outcome === "stored").length, 5_999);
        assert.equal(await store.count(series), 5_999);
      },
      {
        onStatement: () => {
          statements += 1;
        },
      },
    );
  });

  test("D4: a frozen server costs the deadline and that connection, nothing more", {
    skip: testSetting("TEST_DATABASE_URL") !== undefined && "the server may be on another machine",
  }, async () => {
    await withStore(
      async ({ store, admin }) => {
        const series = freshSeries();
        await store.write([candleAt(series, T0)], []);
        const backends = await admin.run<{ pid: number }>({
          text: "select pid from pg_stat_activity where application_name = 'freezer'",
        });
        assert.equal(backends.length, 1);
        const [{ pid } = { pid: 0 }] = backends;
        process.kill(pid, "SIGSTOP");
        try {
          const began = performance.now();
          await assert.rejects(
            store.count(series),
            refusal("E_DB_UNREACHABLE", /no answer within 0.4 s/),
          );
          assert.ok(performance.now() - began < 3_000);
          assert.equal(await store.count(series), 1);
        } finally {
          process.kill(pid, "SIGCONT");
        }
      },
      { deadlineMs: 400, poolSize: 1, applicationName: "freezer" },
    );
  });

  test("D4: a line that swallows everything ends at the deadline, also while connecting", async () => {
    await withDatabase(async (database) => {
      const proxy = await startPostgresProxy(database.url);
      const store = await openStore({ url: proxy.url, deadlineMs: 300, connectDeadlineMs: 300 });
      const series = freshSeries();
      proxy.blackHole(true);
      await assert.rejects(
        store.count(series),
        refusal("E_DB_UNREACHABLE", /no answer within 0.3 s/),
      );
      await assert.rejects(
        store.count(series),
        refusal("E_DB_UNREACHABLE", /no connection within 0.3 s/),
      );
      proxy.cut();
      proxy.blackHole(false);
      assert.equal(await store.count(series), 0);
      await store.close();
      await proxy.close();
    });
  });

  test("D11: when every connection of the pool is taken, the next one waits, not for ever", async () => {
    await withDatabase(async ({ url }) => {
      const database = new Database({ url, poolSize: 1, connectDeadlineMs: 200 });
      await database.transaction(async () => {
        await assert.rejects(
          database.run({ text: "select 1" }),
          refusal("E_DB_UNREACHABLE", /no connection of the pool was free/),
        );
      });
      await database.run({ text: "select 1" });
      await database.close();
      await assert.rejects(database.run({ text: "select 1" }), refusal("E_DB_FAILED", /closed/));
    });
  });

  test("a connection lost while idle is replaced without a word", async () => {
    await withStore(
      async ({ store, admin }) => {
        const series = freshSeries();
        await store.write([candleAt(series, T0)], []);
        await admin.run({
          text: `
          select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and application_name = 'black-trade idle'`,
        });
        await until(async () =>
          store.count(series).then(
            (count) => count === 1,
            () => false,
          ),
        );
      },
      { applicationName: "black-trade idle" },
    );
  });

  test("odd settings of the database change nothing", async () => {
    await withDatabase(async ({ url }) => {
      const admin = new Database({ url });
      const name = url.match(/bt_test_\d+_\d+/)?.[0];
      for (const setting of [
        "timezone = 'Asia/Kathmandu'",
        "datestyle = 'German, DMY'",
        "intervalstyle = 'sql_standard'",
        "extra_float_digits = -10",
        "default_transaction_isolation = 'serializable'",
        "synchronous_commit = off",
        "bytea_output = 'escape'",
        "standard_conforming_strings = off",
      ]) {
        await admin.run({ text: `alter database ${name} set ${setting}` });
      }
      await admin.close();
      const echoed: string[] = [];
      const store = await openStore({ url, onStatement: ({ text }) => echoed.push(text) });
      const month = freshSeries("1M");
      const rows = [1, 2, 3].map((n) => candleAt(month, Date.UTC(2025, n, 1)));
      await store.write(rows, [{ series: month, next: Date.UTC(2025, 4, 1) }]);
      assert.deepEqual(await store.latest(month, 5), rows);
      assert.ok(echoed.some((text) => /^begin.*synchronous_commit = on/s.test(text)));
      const reader = new Database({ url });
      const view = await reader.run({
        text: 'select "timestamp", close_time from ohlcv_candles order by 1',
      });
      assert.deepEqual(
        view,
        rows.map(({ candle }) => ({ timestamp: candle.openTime, close_time: candle.closeTime })),
      );
      await reader.close();
      await store.close();
    });
  });
});

describe("the ingester's hold on the database", () => {
  const run = { mode: "websocket", host: "here", pid: 7 } as const;

  test("a process that is gone, without a word, leaves the database free", async () => {
    await withStore(async ({ store, database }) => {
      const killed = await openStore({ url: database.url });
      await killed.begin(run, []);
      await assert.rejects(
        store.begin({ ...run, pid: 8 }, []),
        refusal("E_DB_BUSY", /pid 7 on here/),
      );
      await killed.close();
      await store.begin({ ...run, pid: 8 }, []);
      assert.equal((await store.facts()).run?.stoppedTime, undefined);
      await store.end();
    });
  });

  test("a hold whose connection dies is taken again with the next report", async () => {
    await withStore(async ({ store, admin, database }) => {
      await store.begin(run, []);
      const cut = (): Promise<unknown> =>
        admin.run({
          text: `
            select pg_terminate_backend(pid) from pg_locks
            where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`,
        });
      await cut();
      const other = await openStore({ url: database.url });
      await until(() =>
        store.report([], undefined).then(
          () => true,
          () => false,
        ),
      );
      await assert.rejects(other.begin({ ...run, pid: 9 }, []), refusal("E_DB_BUSY"));
      // The other way round: another one is faster, and the first one must not go on as if nothing had happened.
      await cut();
      await until(() =>
        other.begin({ ...run, pid: 9, host: "there" }, []).then(
          () => true,
          () => false,
        ),
      );
      await assert.rejects(store.report([], undefined), refusal("E_DB_BUSY", /pid 9 on there/));
      await other.close();
    });
  });

  test("a lock that is still held, with no other run begun, is waited for", async () => {
    await withStore(async ({ store, admin }) => {
      await store.begin(run, []);
      // Stands for the run's own old connection behind a pooler: whoever waits has the lock as soon as it is free.
      const old = await admin.openSession();
      const taken = old.run({ text: "select pg_advisory_lock($1)", values: [INGEST_LOCK] });
      await until(async () => (await blockedPids(admin)).length === 1);
      await admin.run({
        text: `
          select pg_terminate_backend(pid) from pg_locks
          where locktype = 'advisory' and granted
            and database = (select oid from pg_database where datname = current_database())`,
      });
      await taken;
      let refused: unknown;
      await until(async () => {
        refused = await store.report([], undefined).catch((error: unknown) => error);
        return refused !== undefined;
      });
      refusal("E_DB_UNREACHABLE", /the old connection still holds the lock/)(refused);
      await assert.rejects(store.report([], undefined), { retryable: true });
      await old.close();
      await until(() =>
        store.report([], undefined).then(
          () => true,
          () => false,
        ),
      );
      await store.end();
    });
  });

  test("a hold whose line is dead on this side only is freed in the server first", async () => {
    await withDatabase(async (database) => {
      const proxy = await startPostgresProxy(database.url);
      const store = await openStore({ url: proxy.url });
      await store.begin(run, []);
      proxy.cut();
      await until(() =>
        store.report([], undefined).then(
          () => true,
          () => false,
        ),
      );
      await store.end();
      await store.close();
      await proxy.close();
    });
  });
});

describe("a database that is not to be had", () => {
  const open = async (url: string, options: Partial<StoreOptions> = {}): Promise<never> => {
    const store = await openStore({ url, connectDeadlineMs: 5_000, ...options });
    await store.close();
    return assert.fail("it opened");
  };

  test("O2: wrong passwords, users, hosts and names are told plainly, never the password", async () => {
    await withDatabase(async (database) => {
      const proxy = await startPostgresProxy(database.url);
      const { port, pathname } = new URL(proxy.url);
      const at = `127.0.0.1:${port}`;
      const encoded = encodeURIComponent(CANARY);
      await assert.rejects(
        open(`postgresql://postgres:${encoded}@${at}${pathname}`),
        refusal("E_DB_AUTH"),
      );
      await assert.rejects(
        open(`postgresql://postgres@${at}${pathname}?password=${encoded}`),
        refusal("E_DB_AUTH"),
      );
      await assert.rejects(
        open(`postgresql://nobody:${encoded}@${at}${pathname}`),
        refusal("E_DB_AUTH"),
      );
      await assert.rejects(
        open(proxy.url.replace(/\/[^/]*$/, "/no_such_database")),
        refusal("E_DB_MISSING", /"no_such_database" does not exist/),
      );
      await assert.rejects(
        open(`${proxy.url}?sslmode=verify-full`),
        refusal("E_DB_UNREACHABLE", /does not speak TLS/),
      );
      await proxy.close();
      await assert.rejects(
        open(`postgresql://postgres:${encoded}@${at}${pathname}`),
        refusal("E_DB_UNREACHABLE", /connection refused/),
      );
      await assert.rejects(
        open(`postgresql://u:${encoded}@no-such-host.invalid/x`),
        refusal("E_DB_UNREACHABLE", /host name/),
      );
      await assert.rejects(
        open(`postgresql://u:${encoded}@/x?host=%2Fno%2Fsuch%2Ffolder`),
        refusal("E_DB_UNREACHABLE", /socket does not exist/),
      );
    });
  });

  test("a URL that cannot be used is a fault of the configuration", async () => {
    for (const url of [
      "",
      `mysql://u:${CANARY}@host/db`,
      `postgresql://u:${CANARY}@host:99999999/db`,
      `postgresql://u:${CANARY}@[broken/db`,
      `postgresql://u:${CANARY}@host/db?sslrootcert=/no/such/file`,
    ]) {
      await assert.rejects(open(url), refusal("E_CONFIG", /DATABASE_URL/));
    }
    assert.doesNotMatch(
      maskPasswords(`x postgres://u:${CANARY}@h/d?password=${CANARY}&a=b`),
      /S3CR3T/,
    );
    assert.doesNotMatch(maskPasswords(`postgres://u:p/@${CANARY}@h/d`), /S3CR3T/);
  });

  test("O3, S18: missing rights are named with the GRANT that mends them, and no more is needed", async () => {
    await withDatabase(async (database) => {
      const admin = new Database({ url: database.url });
      const role = `bt_role_${process.pid}`;
      await admin.run({ text: `create role ${role} login password '${CANARY}'` });
      const as = new URL((await startProxyFor(database)).url);
      as.username = role;
      as.password = CANARY;
      try {
        await assert.rejects(open(as.href), (error) => {
          refusal("E_DB_RIGHT", /needs SELECT on/)(error);
          assert.ok(error instanceof BlackTradeError);
          assert.match(error.remedy, /GRANT SELECT, INSERT, UPDATE ON ALL TABLES/);
          return true;
        });
        const grant = async (access: "read" | "write"): Promise<void> => {
          const error: unknown = await open(as.href, { access }).catch((caught: unknown) => caught);
          assert.ok(error instanceof BlackTradeError);
          await admin.run({ text: /run: (.*)$/.exec(error.remedy)?.[1] ?? "" });
        };
        await grant("read");
        const reader = await openStore({ url: as.href, access: "read" });
        const series = freshSeries();
        assert.deepEqual(await reader.latest(series, 1), []);
        await assert.rejects(reader.write([candleAt(series, T0)], []), refusal("E_DB_RIGHT"));
        await reader.close();
        await grant("write");
        await useEverything(as.href);
        const limited = new Database({ url: as.href });
        for (const text of [
          "delete from candles",
          "truncate candles",
          "drop table candles",
          "alter table candles add column x int",
          "create table x (y int)",
        ]) {
          await assert.rejects(limited.run({ text }), refusal("E_DB_RIGHT"), text);
        }
        await admin.run({ text: `alter role ${role} connection limit 1` });
        await limited.run({ text: "select 1" });
        await assert.rejects(open(as.href), refusal("E_DB_UNREACHABLE", /no free connection/));
        await limited.close();
      } finally {
        await stopProxies();
        await admin.run({
          text: "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1",
          values: [role],
        });
        await admin.run({ text: `drop owned by ${role}` });
        await admin.run({ text: `drop role ${role}` });
        await admin.close();
      }
    });
  });

  test("every error of a server has a plain line and says whether trying again can help", async () => {
    await withDatabase(async ({ url }) => {
      const database = new Database({ url });
      const cases: readonly [string, ErrorCode, boolean][] = [
        ["28P01", "E_DB_AUTH", false],
        ["28000", "E_DB_AUTH", false],
        ["3D000", "E_DB_MISSING", false],
        ["42501", "E_DB_RIGHT", false],
        ["42P01", "E_DB_NOT_MIGRATED", false],
        ["57P01", "E_DB_UNREACHABLE", true],
        ["57P02", "E_DB_UNREACHABLE", true],
        ["57P03", "E_DB_UNREACHABLE", true],
        ["53300", "E_DB_UNREACHABLE", true],
        ["53100", "E_DB_FAILED", true],
        ["25006", "E_DB_FAILED", true],
        ["40P01", "E_DB_FAILED", true],
        ["40001", "E_DB_FAILED", true],
        ["55P03", "E_DB_FAILED", true],
        ["57014", "E_DB_FAILED", true],
        ["XX000", "E_DB_FAILED", true],
      ];
      for (const [state, code, isRetryable] of cases) {
        await assert.rejects(
          database.run({
            text: `do $$ begin raise exception 'as told' using errcode = '${state}'; end $$`,
          }),
          (error) => {
            refusal(code)(error);
            assert.ok(error instanceof BlackTradeError);
            assert.equal(error.details.sqlState, state);
            return error.retryable === isRetryable;
          },
        );
      }
      await assert.rejects(
        database.transaction(async (tx) => {
          await tx.run({ text: "set transaction read only" });
          await tx.run({ text: "update series set symbol = 'x'" });
        }),
        refusal("E_DB_FAILED", /read-only/),
      );
      await database.close();
    });
  });
});

const proxies: { close(): Promise<void> }[] = [];

async function startProxyFor(database: TestDatabase): Promise<{ readonly url: string }> {
  const proxy = await startPostgresProxy(database.url);
  proxies.push(proxy);
  return proxy;
}

async function stopProxies(): Promise<void> {
  for (const proxy of proxies.splice(0)) await proxy.close();
}

/** Every way in which the program writes. */
async function useEverything(url: string): Promise<void> {
  const store = await openStore({ url });
  const series = freshSeries();
  const gap = shedGap(series, { from: T0, to: T0 + MINUTE_MS }, T0);
  await store.begin({ mode: "polling", host: "h", pid: 1 }, [series]);
  await store.want([{ series, wantedFrom: T0 }], T0);
  await store.want([{ series, wantedFrom: T0 - MINUTE_MS }], T0);
  await store.write([candleAt(series, T0)], [{ series, next: T0 + MINUTE_MS }]);
  await store.write([candleAt(series, T0, "rest", { volume: "1" })], []);
  await store.write([candleAt(series, T0 + MINUTE_MS, "rest", { volume: "-1" })], []);
  await store.quarantine(candleAt(series, T0), { code: "not-a-time", detail: "no time" });
  await store.open([gap]);
  await store.replace(gap, [{ ...gap, emptyAnswers: 1 }]);
  await store.replace(gap, []);
  await store.save({ exchange: "x", untilTime: T0, httpStatus: 418 }, 1_000);
  await store.report([{ series, mode: "polling", isStreamed: false, isCatchingUp: false }], T0);
  await store.facts();
  await store.end();
  await store.close();
}
