import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { BlackTradeError, type ErrorCode } from "../src/core/errors.ts";
import {
  createDatabase,
  Database,
  migrate,
  migrateDown,
  migrationStates,
  openStore,
} from "../src/store/index.ts";
import { type Migration, parseMigration, readMigrations } from "../src/store/migration-files.ts";
import { withDatabase } from "./support/postgres.ts";

const refusal =
  (code: ErrorCode, message: RegExp = /./, remedy: RegExp = /./) =>
  (error: unknown): true => {
    assert.ok(error instanceof BlackTradeError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    assert.match(error.remedy, remedy);
    return true;
  };

async function withEmpty(run: (database: Database, url: string) => Promise<void>): Promise<void> {
  await withDatabase(async ({ url }) => {
    const database = new Database({ url });
    try {
      await run(database, url);
    } finally {
      await database.close();
    }
  }, "empty");
}

/** Everything that migrations made, in one comparable text. */
async function shapeOf(database: Database): Promise<string> {
  const rows = await database.run<{ line: string }>({
    text: `
      select line from (
        select format('%s %s.%s %s %s', c.relkind, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull) as line
        from pg_class c join pg_attribute a on a.attrelid = c.oid
        where c.relnamespace = 'public'::regnamespace and a.attnum > 0 and not a.attisdropped
        union all
        select format('function %s %s', proname, pg_get_functiondef(p.oid))
        from pg_proc p where pronamespace = 'public'::regnamespace and prolang in (select oid from pg_language where lanname in ('sql', 'plpgsql'))
        union all
        select format('constraint %s %s', conname, pg_get_constraintdef(oid))
        from pg_constraint where connamespace = 'public'::regnamespace and contype <> 'n'
        union all
        select format('trigger %s', pg_get_triggerdef(oid)) from pg_trigger where not tgisinternal
        union all
        select format('index %s', indexdef) from pg_indexes where schemaname = 'public'
      ) shape order by line`,
  });
  return rows.map(({ line }) => line).join("\n");
}

const file = (name: string, content: string): Migration => parseMigration(name, content);
const A = file("0001-a.sql", "create table a (x int);\n-- down\ndrop table a;\n");
const B = file("0002-b.sql", "create table b (x int);\n-- down\ndrop table b;\n");

describe("migrations", () => {
  test("go up, down to nothing, and up again to the same schema; twice is once", async () => {
    await withEmpty(async (database) => {
      const all = await readMigrations();
      const names = (await migrate(database)).map(({ name }) => name);
      assert.ok(names.includes("candles"));
      const shape = await shapeOf(database);
      assert.deepEqual(await migrate(database), []);
      assert.equal(await shapeOf(database), shape);
      const undone = await migrateDown(database, all.length);
      assert.deepEqual(
        undone.map(({ name }) => name),
        names.reverse(),
      );
      assert.doesNotMatch(await shapeOf(database), /candles|series|gaps|ingestion|quarantine/);
      assert.deepEqual(await migrateDown(database, 1), []);
      await migrate(database);
      assert.equal(await shapeOf(database), shape);
    });
  });

  test("run by several processes at once are applied once", async () => {
    await withEmpty(async (database, url) => {
      const others = [1, 2, 3].map(() => new Database({ url }));
      const applied = await Promise.all([database, ...others].map((one) => migrate(one)));
      const names = applied.flat().map(({ name }) => name);
      assert.equal(new Set(names).size, names.length);
      const states = await migrationStates(database);
      assert.ok(states.every(({ state }) => state === "applied" || state === "skipped"));
      for (const one of others) await one.close();
    });
  });

  test("that need an extension are skipped with the reason where it is not, and looked at again", async (t) => {
    await withEmpty(async (database) => {
      const needs = file(
        "0002-t.sql",
        "-- requires: timescaledb\ncreate table t (x int);\n-- down\ndrop table t;\n",
      );
      const [available] = await database.run({
        text: "select from pg_available_extensions where name = 'timescaledb'",
      });
      if (available !== undefined) {
        t.skip("the server has TimescaleDB");
        return;
      }
      await migrate(database, [A, needs]);
      const [, state] = await migrationStates(database, [A, needs]);
      assert.equal(state?.state, "skipped");
      assert.match(state?.reason ?? "", /does not have TimescaleDB/);
      // The extension "appears": the same migration without its need stands for that.
      const { requires: _, ...free } = needs;
      assert.deepEqual(
        (await migrate(database, [A, free])).map(({ name }) => name),
        ["t"],
      );
      assert.deepEqual(
        (await migrateDown(database, 2, [A, free])).map(({ name }) => name),
        ["t", "a"],
      );
    });
  });

  test("may be skipped and still be gone down over", async () => {
    await withEmpty(async (database) => {
      const needs = file("0002-t.sql", "-- requires: timescaledb\nselect 1;\n-- down\nselect 1;\n");
      await migrate(database, [A, needs]);
      await migrateDown(database, 9, [A, needs]);
      assert.ok(
        (await migrationStates(database, [A, needs])).every(({ state }) => state === "pending"),
      );
    });
  });

  test("without a transaction run one statement that needs none", async () => {
    await withEmpty(async (database) => {
      const index = file(
        "0002-index.sql",
        "-- transaction: none\ncreate index concurrently a_x on a (x);\n-- down\ndrop index a_x;\n",
      );
      assert.equal((await migrate(database, [A, index])).length, 2);
      assert.equal((await migrate(database, [A, index])).length, 0);
      assert.equal((await migrateDown(database, 1, [A, index])).length, 1);
    });
  });

  test("that fail leave nothing of themselves, and those before them stay", async () => {
    await withEmpty(async (database) => {
      const bad = file(
        "0002-bad.sql",
        "create table c (x int); select 1 / 0;\n-- down\nselect 1;\n",
      );
      await assert.rejects(migrate(database, [A, bad]), refusal("E_DB_FAILED", /22012/));
      assert.deepEqual(
        (await migrationStates(database, [A, bad])).map(({ state }) => state),
        ["applied", "pending"],
      );
      assert.match(await shapeOf(database), /a\.x/);
      assert.doesNotMatch(await shapeOf(database), /c\.x/);
    });
  });

  test("P11: an older program refuses a newer database", async () => {
    await withEmpty(async (database) => {
      await migrate(database, [A, B]);
      await assert.rejects(migrate(database, [A]), refusal("E_DB_NEWER", /migration 2 b/));
      await assert.rejects(migrateDown(database, 1, [A]), refusal("E_DB_NEWER"));
      const states = await migrationStates(database, [A]);
      assert.deepEqual(
        states.map(({ state }) => state),
        ["applied", "unknown"],
      );
    });
  });

  test("an edited file is refused; other line ends are no edit", async () => {
    await withEmpty(async (database) => {
      await migrate(database, [A]);
      const edited = file("0001-a.sql", "create table a (x bigint);\n-- down\ndrop table a;\n");
      await assert.rejects(migrate(database, [edited]), refusal("E_DB_DRIFT", /migration 1 a/));
      assert.equal((await migrationStates(database, [edited]))[0]?.state, "changed");
      const windows = file(
        "0001-a.sql",
        "\uFEFFcreate table a (x int);\r\n-- down\r\ndrop table a;\r\n",
      );
      assert.deepEqual(await migrate(database, [windows]), []);
    });
  });

  test("tables of the replaced system are left alone, and the way out is named", async () => {
    await withEmpty(async (database) => {
      await database.run({
        text: "create table ohlcv_candles (id bigserial primary key, symbol text)",
      });
      await database.run({ text: "create table ingestion_status (id bigserial primary key)" });
      await database.run({ text: "insert into ohlcv_candles (symbol) values ('BTCUSDT')" });
      await assert.rejects(
        migrate(database),
        refusal(
          "E_DB_FOREIGN_TABLE",
          /ingestion_status, ohlcv_candles/,
          /ALTER TABLE ingestion_status RENAME/,
        ),
      );
      await database.run({ text: "alter table ingestion_status rename to old_ingestion_status" });
      await database.run({ text: "alter table ohlcv_candles rename to old_ohlcv_candles" });
      await migrate(database);
      const rows = await database.run({ text: "select symbol from old_ohlcv_candles" });
      assert.deepEqual(rows, [{ symbol: "BTCUSDT" }]);
    });
  });

  test("a ledger of another tool is not taken for ours", async () => {
    await withEmpty(async (database, url) => {
      await database.run({ text: "create table schema_migrations (version text)" });
      await assert.rejects(migrate(database), refusal("E_DB_FOREIGN_TABLE", /schema_migrations/));
      await assert.rejects(openStore({ url }), refusal("E_DB_NOT_MIGRATED"));
    });
  });

  test("a user who may not create tables is told which statement lets them", async () => {
    await withEmpty(async (database, url) => {
      const role = `bt_migrator_${process.pid}`;
      await database.run({ text: `create role ${role}` });
      await database.run({ text: "revoke create on schema public from public" });
      const limited = new Database({ url, poolSize: 1 });
      await limited.run({ text: `set role ${role}` });
      const rejected = refusal(
        "E_DB_RIGHT",
        /permission denied for schema public/,
        /GRANT USAGE, CREATE ON SCHEMA "public"/,
      );
      await assert.rejects(migrate(limited), rejected);
      await limited.close();
      await database.run({ text: `drop role ${role}` });
    });
  });

  test("a database that is missing is created in UTF-8, once", async () => {
    await withDatabase(async ({ url, urlOf }) => {
      const name = `bt_test_${process.pid}_Created "now"`;
      const target = { url: urlOf(name) };
      assert.deepEqual(
        (await Promise.all([createDatabase(target), createDatabase(target)])).filter((made) => made)
          .length,
        1,
      );
      assert.equal(await createDatabase(target), false);
      const created = new Database(target);
      const [row] = await created.run({
        text: "select current_setting('server_encoding') as encoding, current_database() as name",
      });
      assert.deepEqual(row, { encoding: "UTF8", name });
      await created.close();
      const admin = new Database({ url });
      await admin.run({ text: `drop database "${name.replaceAll('"', '""')}"` });
      await admin.close();
    }, "empty");
  });
});

describe("migration files", () => {
  test("are numbered without holes, each with its way down", async () => {
    const migrations = await readMigrations();
    assert.ok(migrations.every(({ up, down }) => up !== "" && down !== ""));
    assert.equal(migrations.at(-1)?.version, migrations.length);
  });

  test("of a wrong name, number or without a way down are refused", async () => {
    assert.throws(() => parseMigration("1-a.sql", "select 1;\n-- down\n"), /NNNN-name/);
    assert.throws(() => parseMigration("0001-a.sql", "select 1;"), /down/);
    const folder = await mkdtemp(join(tmpdir(), "black-trade-migrations-"));
    await writeFile(join(folder, "0002-a.sql"), "select 1;\n-- down\n");
    await assert.rejects(readMigrations(folder), /expected number 1/);
    await rm(folder, { recursive: true });
  });
});

async function serverMajor(database: Database): Promise<number> {
  const [row] = await database.run<{ major: number }>({
    text: "select current_setting('server_version_num')::int / 10000 as major",
  });
  return row?.major ?? 0;
}

describe("the check before a store is opened", () => {
  const drift = (change: string, message: RegExp, code: ErrorCode = "E_DB_DRIFT") =>
    withDatabase(async ({ url }) => {
      const admin = new Database({ url });
      await admin.run({ text: change });
      await admin.close();
      await assert.rejects(openStore({ url }), refusal(code, message));
    });

  test("D9: every change of the schema that matters is named", async () => {
    await drift(
      "alter table candles drop constraint candles_pkey",
      /lacks its primary key \(series_id, open_time\)/,
    );
    await drift(
      "alter table gaps alter column reason type varchar(50)",
      /gaps.reason is character varying\(50\) not null, not text not null/,
    );
    await drift(
      "alter table ingestion_runs drop column pid",
      /column ingestion_runs.pid is missing/,
    );
    await drift(
      "alter table candles alter column volume drop not null",
      /candles.volume is numeric, not numeric not null/,
    );
    await drift(
      "alter table series drop constraint series_exchange_symbol_timeframe_key",
      /series lacks its unique key \(exchange, symbol, timeframe\)/,
    );
    await drift(
      "alter table candles drop constraint candles_prices",
      /lacks its check candles_prices/,
    );
    await drift("drop table quarantine", /table quarantine is missing/);
    await drift("alter table candle_revisions set unlogged", /unlogged/);
    await drift(
      "alter table candles disable trigger keep_candle_revision",
      /trigger keep_candle_revision/,
    );
    await drift("drop trigger keep_candle_revision on candles", /trigger keep_candle_revision/);
    await drift("update schema_migrations set checksum = 'x' where version = 1", /another content/);
    await drift(
      "insert into schema_migrations values (9999, 'later', 'x', 'applied')",
      /9999 later/,
      "E_DB_NEWER",
    );
    await drift(
      "delete from schema_migrations where version = 2",
      /1 of \d+ migrations are not applied/,
      "E_DB_NOT_MIGRATED",
    );
  });

  test("a database without tables is said to be not migrated", async () => {
    await withEmpty(async (_database, url) => {
      await assert.rejects(openStore({ url }), refusal("E_DB_NOT_MIGRATED", /./, /db migrate/));
    });
  });

  test("a database in another encoding is refused", async () => {
    await withDatabase(async ({ url, urlOf }) => {
      const name = `bt_test_${process.pid}_latin`;
      const admin = new Database({ url });
      await admin.run({
        text: `
          create database ${name} encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0
          ${(await serverMajor(admin)) < 15 ? "" : "locale_provider libc"}`,
      });
      const latin = new Database({ url: urlOf(name) });
      await migrate(latin);
      await latin.close();
      await assert.rejects(openStore({ url: urlOf(name) }), refusal("E_DB_UNSAFE", /LATIN1/));
      await admin.run({ text: `drop database ${name}` });
      await admin.close();
    }, "empty");
  });
});
