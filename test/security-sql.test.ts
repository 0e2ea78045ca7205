import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import type { Series } from "../src/core/series.ts";
import { Database, openStore, type Store } from "../src/store/index.ts";
import { candleAt } from "./conformance/store-suite.ts";
import { needlessReviews, statementsWithInput } from "./security/statements.ts";
import { templatesOf } from "./security/templates.ts";
import { type ApiStack, startApi } from "./support/api-stack.ts";
import { createTestDatabase, sharedServer, type TestDatabase } from "./support/postgres.ts";

const ROOT = join(import.meta.dirname, "..");
const T0 = Date.UTC(2025, 0, 1);
const EVER = { from: 0, to: Number.MAX_SAFE_INTEGER };
const HOSTILE = [
  ...[
    "' or 1=1--",
    "'; drop table candles;--",
    "' union select null,null--",
    "1; select pg_sleep(9)",
  ],
  ...[
    "') or ('1'='1",
    "\\'; drop table series;--",
    "$1",
    "$$;drop table candles;$$",
    '"; drop view x;--',
  ],
  ...[
    "BTCUSDT'||(select version())||'",
    "%27%20or%201=1",
    "\u02bc or 1=1",
    "a\u0027b",
    "x'/**/or/**/1=1",
  ],
  ...[
    "E'\\x27'",
    "U&'\\0027'",
    "copy candles to program 'id'",
    "btc\nusdt; commit;",
    "NULL",
    "{}",
    "{1,2}",
  ],
  ...[
    '{"a":"b"}',
    "(1)",
    "\\",
    "'",
    '"',
    "`",
    "; --",
    "/*",
    "--",
    "\u{1f4a5}",
    "İ",
    "0x27",
    "1e309",
  ],
];

/** Planted code is written with `#{`, so that nobody takes it for a template that was forgotten. */
const code = (text: string): string => text.replaceAll("#{", "$" + "{");

describe("the texts of statements", () => {
  const sources = new Map(
    globSync("src/**/*.ts", { cwd: ROOT })
      .filter((path) => !path.endsWith(".test.ts"))
      .map((path) => [path, readFileSync(join(ROOT, path), "utf8")] as const),
  );

  test("hold constants, numbers and quoted names, and nothing that comes from outside", () => {
    assert.ok(sources.size > 250);
    const found = [...sources].flatMap(([path, source]) => statementsWithInput(path, source));
    assert.deepEqual(
      found,
      [],
      "bind it as a parameter, or review it in test/security/statements.ts",
    );
    assert.deepEqual(needlessReviews(sources), [], "take it out of the list");
  });

  test("that something was put into are found, wherever they are", () => {
    const planted: readonly (readonly [path: string, source: string])[] = [
      ["src/store/a.ts", "tx.run({ text: `select * from candles where symbol = '#{symbol}'` });"],
      ["src/store/a.ts", "const part = `and symbol = #{quote(symbol)} order by #{by}`;"],
      ["src/store/a.ts", "run({ text: `select 1 from x #{ok ? `where a = #{b}` : ''}` })"],
      [
        "src/serve/api/a.ts",
        "const text = `\n  select 1 from series where symbol = '#{query.symbol}'`;",
      ],
      ["src/cli/a.ts", "await db.run({ text: `delete from gaps where id = #{id}` });"],
      ["src/library/a.ts", 'run({ text: "select 1 where x = " + symbol });'],
      ["src/store/a.ts", "client.query(BASE + tail)"],
      [
        "src/store/candle-reader.ts",
        "const r = /`#{/; const t = `select #{columns} from candles`;",
      ],
    ];
    for (const [path, source] of planted) {
      assert.notDeepEqual(statementsWithInput(path, code(source)), [], source);
    }
    assert.deepEqual(statementsWithInput("src/cli/a.ts", code("say(`from #{a} to #{b}`)")), []);
    assert.deepEqual(
      statementsWithInput("src/store/a.ts", code("run({ text: `select #{COLUMNS}` })")),
      [],
    );
  });

  test("are read as TypeScript reads them", () => {
    const inserted = (source: string): string[] =>
      templatesOf(code(source)).flatMap((one) => [...one.inserted]);
    assert.deepEqual(inserted("`#{a}` // `#{b}`\n/* `#{c}` */ '`#{d}`'"), ["a"]);
    assert.deepEqual(inserted("x = /[`/]#{/.test(y) ? `#{f({ a: `#{b}` })}` : a / b / `#{c}`"), [
      ...["b", code("f({ a: `#{b}` })"), "c"],
    ]);
    assert.deepEqual(inserted("`\\#{a} \\` #{ '}' + \"}\" }`"), ["'}' + \"}\""]);
    for (const open of ["`abc", "`#{a", "'abc\n'", "/* abc", "= /abc\n"]) {
      assert.throws(() => templatesOf(code(open)), open);
    }
  });
});

describe("what looks like SQL", () => {
  let database: TestDatabase;
  let admin: Database;
  let store: Store;
  let api: ApiStack;

  before(async () => {
    database = await createTestDatabase(await sharedServer(), "migrated");
    admin = new Database({ url: database.url });
    store = await openStore({ url: database.url });
    api = await startApi(database.url);
  });
  after(async () => {
    await api?.close();
    await store?.close();
    await admin?.close();
    await database?.drop();
  });

  /** Everything that a statement could have changed: tables, rows, users, settings. */
  async function shape(): Promise<unknown> {
    return await admin.run({
      text: `
        select
          (select count(*) from pg_class where relnamespace = current_schema()::regnamespace) as relations,
          (select count(*) from pg_roles) as roles,
          (select count(*) from series) as series,
          (select count(*) from candles) as candles,
          (select count(*) from gaps) as gaps`,
    });
  }

  const seriesOf = (symbol: string, exchange = "binance"): Series => ({
    exchange,
    symbol,
    timeframe: "1m",
  });

  test("is stored and read back as the name that it is", async () => {
    for (const [index, symbol] of HOSTILE.entries()) {
      for (const series of [seriesOf(symbol), seriesOf(`BTC${index}`, symbol)]) {
        const candle = candleAt(series, T0, "rest", {});
        await store.write([candle], []);
        for await (const page of store.scan(series, EVER)) assert.deepEqual(page, [candle]);
      }
    }
    const [row] = await admin.run<{ count: number }>({
      text: "select count(*)::int as count from candles",
    });
    assert.equal(row?.count, 2 * HOSTILE.length);
    const names = await admin.run<{ symbol: string }>({
      text: "select symbol from series where exchange = 'binance'",
    });
    for (const symbol of HOSTILE)
      assert.ok(
        names.some((one) => one.symbol === symbol),
        symbol,
      );
  });

  test("any name makes a round trip", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string({ unit: "binary", minLength: 1, maxLength: 40 }),
          fc.constantFrom(...HOSTILE),
        ),
        async (text) => {
          const symbol = text.toWellFormed().replaceAll("\0", "0");
          const candle = candleAt(seriesOf(symbol, "any"), T0, "rest", {});
          await store.write([candle], []);
          for await (const page of store.scan(candle.series, EVER))
            assert.deepEqual(page, [candle]);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("asked of every route, it changes nothing and is never the program's fault", async () => {
    const before = await shape();
    const names = [
      "symbol",
      "timeframe",
      "from",
      "to",
      "limit",
      "cursor",
      "order",
      "format",
      "series",
      "interval",
      "startTime",
    ];
    const routes = [
      "/api/v1/candles",
      "/api/v1/gaps",
      "/api/v1/coverage",
      "/api/v1/revisions",
      "/api/v1/series",
      "/api/v1/status",
    ];
    const statuses = new Set<number>();
    let count = 0;
    for (const route of [
      ...routes,
      "/api/v3/klines",
      "/api/v3/ticker/price",
      "/udf/history",
      "/udf/search",
    ]) {
      for (const [index, text] of HOSTILE.entries()) {
        const hostile = names[index % names.length] ?? "";
        const query = new URLSearchParams({
          symbol: "BTC0",
          timeframe: "1m",
          interval: "1m",
          [hostile]: text,
        });
        const response = await api.get(`${route}?${query}`);
        statuses.add(response.status);
        assert.ok(response.status < 500, `${route}?${query}: ${response.status}`);
        const body = await response.text();
        assert.doesNotMatch(
          body,
          /syntax error|PostgreSQL \d|pg_catalog|node_modules/,
          query.toString(),
        );
        count += 1;
      }
    }
    assert.ok(count > 300, String(count));
    // Some are names that nobody has, some are no values at all; none was turned away before it was looked at.
    assert.deepEqual([...statuses].sort(), [200, 400, 404]);
    assert.deepEqual(await shape(), before);
  });
});
