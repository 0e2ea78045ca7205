import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { systemClock } from "../src/clock.ts";
import { environmentFacts, type Flags, loadConfig } from "../src/config.ts";
import type { Clock } from "../src/core/ports.ts";
import type { Series } from "../src/core/series.ts";
import { weightVerdict } from "../src/doctor/exchange.ts";
import { CHECKS, diagnose, exitStatusOf, type Finding } from "../src/doctor/index.ts";
import { freeSpace, memory, nodeVersion } from "../src/doctor/setup.ts";
import { SeededMarket, type Simulator, startSimulator } from "../src/simulator/index.ts";
import { Database, openStore, startEmbedded } from "../src/store/index.ts";
import { openLog } from "../src/telemetry/log.ts";
import { createMetrics } from "../src/telemetry/metrics.ts";
import { createRecorder } from "../src/telemetry/record.ts";
import { scaledClock } from "./support/clocks.ts";
import { createTestDatabase, timescale, withDatabase } from "./support/postgres.ts";
import { startPostgresProxy } from "./support/postgres-proxy.ts";
import { exchangeSettings, runProgram } from "./support/program.ts";
import { selfSignedCertificate } from "./support/tls.ts";

/** Nothing listens there. */
const NOWHERE = { url: "http://127.0.0.1:65531", wsUrl: "ws://127.0.0.1:65531" };
const SERIES: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1s" };
const CANARY = "S3CR3T-canary";

type Findings = ReadonlyMap<string, Finding>;

interface Look {
  readonly flags?: Flags;
  readonly env?: Readonly<Record<string, string>>;
  readonly envFile?: string;
  readonly clock?: Clock;
  readonly deadlineMs?: number;
}

let folder = "";
let exchange: Simulator;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "black-trade-doctor-test-"));
  await chmod(folder, 0o755);
  exchange = await startSimulator({ market: new SeededMarket(), clock: systemClock });
});

after(async () => {
  await exchange.close();
  await rm(folder, { recursive: true, force: true });
});

/** Runs every check. Without an exchange in `flags` there is none, which is quick. */
async function look({
  flags = {},
  env = {},
  envFile = "",
  clock,
  deadlineMs,
}: Look): Promise<Findings> {
  const all: Flags = {
    DATA_DIR: join(folder, "data"),
    TRADING_PAIRS: "BTCUSDT",
    TIMEFRAMES: "1s",
    HTTP_PORT: "0",
    ...exchangeSettings(NOWHERE),
    ...flags,
  };
  const findings = await diagnose({
    clock: clock ?? systemClock,
    signal: new AbortController().signal,
    load: () => loadConfig(all, { env, envFile }),
    environment: environmentFacts({ env, envFile: envFile || join(folder, "none") }),
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
  });
  assert.equal(findings.length, CHECKS.length);
  for (const { status, found, remedy, id } of findings) {
    assert.notEqual(found, "", id);
    if (status === "warn" || status === "fail") assert.ok(remedy, `${id} has no remedy: ${found}`);
  }
  return new Map(findings.map((finding) => [finding.id, finding]));
}

function expect(
  findings: Findings,
  id: string,
  status: Finding["status"],
  found: RegExp,
  remedy?: RegExp,
): void {
  const finding = findings.get(id);
  assert.ok(finding, id);
  assert.equal(finding.status, status, `${id}: ${finding.found}`);
  assert.match(finding.found, found);
  if (remedy !== undefined) assert.match(finding.remedy ?? "", remedy);
}

function exitOf(findings: Findings): number {
  return exitStatusOf([...findings.values()]);
}

/** SQL as the owner of a test's database. */
async function sql(url: string, text: string): Promise<void> {
  const database = new Database({ url, poolSize: 1 });
  try {
    await database.run({ text });
  } finally {
    await database.close();
  }
}

describe("where all is well", () => {
  test("every check that can be made is ok", () =>
    withDatabase(async ({ url }) => {
      const findings = await look({ flags: { DATABASE_URL: url, ...exchangeSettings(exchange) } });
      const bad = [...findings.values()].filter(({ status }) => status === "fail");
      assert.deepEqual(bad, []);
      expect(findings, "exchange-stream", "ok", /first candle after \d+ ms/);
      expect(findings, "exchange-archive", "ok", /checksum ok/);
      expect(findings, "clock", "ok", /ms (?:behind|ahead)/);
      expect(findings, "migrations", "ok", /\d+ migrations/);
      expect(findings, "ingester", "warn", /no ingester ever ran/, /black-trade ingest/);
      expect(findings, "timescaledb", "ok", /does not have TimescaleDB|in use|has it/);
    }));

  test("without any database the rest is looked at all the same", async () => {
    const findings = await look({ flags: exchangeSettings(exchange) });
    expect(findings, "database", "skip", /there is no database yet/);
    expect(findings, "migrations", "skip", /there is no database yet/);
    expect(findings, "exchange-rest", "ok", /answers/);
    assert.equal(exitOf(findings), 0);
  });
});

describe("planted faults of the database", () => {
  test("a wrong password is named, and the password is not", () =>
    withDatabase(async ({ url }) => {
      const wrong = url.replace(/:[^:@/]+@/, `:${CANARY}@`);
      const findings = await look({ flags: { DATABASE_URL: wrong } });
      expect(findings, "database", "fail", /refused the login/, /Correct user and password/);
      expect(findings, "migrations", "skip", /first mend "database"|database/);
      assert.doesNotMatch(JSON.stringify([...findings]), new RegExp(CANARY));
      assert.equal(exitOf(findings), 4);
    }));

  test("connection refused", async () => {
    const findings = await look({
      flags: { DATABASE_URL: "postgresql://trader:password@127.0.0.1:1/candles" },
    });
    expect(
      findings,
      "database",
      "fail",
      /trader@127.0.0.1:1.*connection refused/,
      /Start PostgreSQL/,
    );
  });

  test("a server whose name nobody knows", async () => {
    const findings = await look({
      flags: { DATABASE_URL: "postgresql://trader:password@database.invalid/candles" },
    });
    expect(findings, "database", "fail", /host name (?:is unknown|cannot)/, /host and port/);
  });

  test("a database that does not exist", () =>
    withDatabase(async ({ urlOf }) => {
      const findings = await look({ flags: { DATABASE_URL: urlOf("bt_test_nowhere") } });
      expect(findings, "database", "fail", /"bt_test_nowhere" does not exist/, /db init/);
    }));

  test("a server that accepts and never answers does not hang the doctor", () =>
    withDatabase(async ({ url }) => {
      const proxy = await startPostgresProxy(url);
      proxy.blackHole(true);
      try {
        const began = performance.now();
        const findings = await look({ flags: { DATABASE_URL: proxy.url }, deadlineMs: 1_500 });
        expect(findings, "database", "fail", /no answer within 1.5 s/, /network/);
        assert.ok(performance.now() - began < 9_000);
      } finally {
        await proxy.close();
      }
    }));

  test("tables that are not there yet", () =>
    withDatabase(async ({ url }) => {
      const findings = await look({ flags: { DATABASE_URL: url } });
      expect(findings, "migrations", "fail", /migrations are not applied/, /db migrate/);
      expect(findings, "ingester", "skip", /migrations/);
    }, "empty"));

  test("tables of the replaced system, which nobody may overwrite", () =>
    withDatabase(async ({ url }) => {
      await sql(url, "create table ohlcv_candles (id bigint primary key, symbol varchar(20))");
      const findings = await look({ flags: { DATABASE_URL: url } });
      expect(findings, "migrations", "fail", /ohlcv_candles/, /own/);
    }, "empty"));

  test("a server without TLS that is asked for it", () =>
    withDatabase(async ({ url }) => {
      const proxy = await startPostgresProxy(url);
      try {
        const flags = { DATABASE_URL: `${proxy.url}?sslmode=require` };
        const findings = await look({ flags });
        expect(findings, "database", "fail", /does not speak TLS/, /sslmode/);
      } finally {
        await proxy.close();
      }
    }));

  test("a database that a newer program has migrated", () =>
    withDatabase(async ({ url }) => {
      await sql(
        url,
        "insert into schema_migrations select 9999, 'later', checksum, state, reason, applied_at from schema_migrations limit 1",
      );
      const findings = await look({ flags: { DATABASE_URL: url } });
      expect(findings, "migrations", "fail", /newer/, /Update black-trade/);
    }));

  test("a table that was changed by hand", () =>
    withDatabase(async ({ url }) => {
      await sql(url, "alter table candles drop constraint candles_pkey");
      const findings = await look({ flags: { DATABASE_URL: url } });
      expect(findings, "migrations", "fail", /candles lacks its primary key/, /Undo the change/);
    }));

  test("a user without rights, and the statement that gives them", () =>
    withDatabase(async ({ url }) => {
      const name = `doctor_${process.pid}`;
      await sql(url, `create role ${name} login password 'pw'`);
      try {
        const limited = url.replace(/\/\/[^@]*@/, `//${name}:pw@`);
        const findings = await look({ flags: { DATABASE_URL: limited } });
        expect(
          findings,
          "database-rights",
          "fail",
          /needs (?:SELECT|INSERT)/,
          /GRANT SELECT, INSERT/,
        );
      } finally {
        await sql(url, `drop role ${name}`);
      }
    }));

  test("an encoding that cannot hold every symbol", () =>
    withDatabase(async ({ urlOf }) => {
      const name = `bt_test_${process.pid}_ascii`;
      await sql(
        urlOf("postgres"),
        `create database ${name} template template0 encoding 'SQL_ASCII' locale_provider libc locale 'C'`,
      );
      try {
        const findings = await look({ flags: { DATABASE_URL: urlOf(name) } });
        expect(findings, "database-safety", "fail", /encoding is SQL_ASCII/, /db init/);
      } finally {
        await sql(urlOf("postgres"), `drop database ${name}`);
      }
    }));

  test("a database that is read-only", () =>
    withDatabase(async ({ url }) => {
      const name = new URL(url.replace("@/", "@local/")).pathname.slice(1);
      await sql(url, `alter database ${name} set default_transaction_read_only = on`);
      const findings = await look({ flags: { DATABASE_URL: url } });
      expect(findings, "database-safety", "fail", /read-only/, /primary/);
    }));

  test("a server that may lose commits, and what a killed one left behind", async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "black-trade-doctor-server-"));
    await chmod(dataDir, 0o755);
    const server = await startEmbedded({ dataDir, settings: ["fsync=off"] });
    try {
      const findings = await look({ flags: { DATABASE_URL: server.urlOf("postgres") } });
      expect(findings, "database-safety", "fail", /fsync off/, /ALTER SYSTEM SET fsync = on/);
      assert.equal(exitOf(findings), 4);
      process.kill(server.serverPid, "SIGKILL");
      const pid = server.serverPid;
      await server.release().catch(() => undefined);
      const text = await readFile(join(dataDir, "pg18/postmaster.pid"), "utf8").catch(() => "");
      if (text !== "") {
        const after = await look({ flags: { DATA_DIR: dataDir } });
        expect(
          after,
          "embedded",
          "warn",
          new RegExp(`process ${pid} .*killed or died`),
          /recovers/,
        );
        expect(after, "database", "ok", /embedded PostgreSQL/);
      }
    } finally {
      await server.release().catch(() => undefined);
      await rm(dataDir, { recursive: true, force: true });
    }
  });

  test("TimescaleDB that is there and not used", { skip: timescale.skip }, async () => {
    const database = await createTestDatabase(timescale.server, "empty");
    try {
      await sql(database.url, "drop extension if exists timescaledb");
      const findings = await look({ flags: { DATABASE_URL: database.url } });
      expect(findings, "timescaledb", "ok", /has it and this database does not use it/);
      assert.match(findings.get("timescaledb")?.remedy ?? "", /CREATE EXTENSION \S+;/);
    } finally {
      await database.drop();
    }
  });
});

describe("planted faults of ingestion", () => {
  test("an ingester that was killed, and series that nobody collects", () =>
    withDatabase(async ({ url }) => {
      const store = await openStore({ url });
      await store.begin({ mode: "websocket", host: "box", pid: 4711 }, [SERIES]);
      const alive = await look({ flags: { DATABASE_URL: url, TRADING_PAIRS: "BTCUSDT,ETHUSDT" } });
      expect(alive, "ingester", "ok", /pid 4711 on box/);
      expect(alive, "series", "warn", /does not collect ETHUSDT 1s/, /Restart it/);

      await sql(
        url,
        "update ingestion_runs set heartbeat_at = heartbeat_at - interval '10 minutes'",
      );
      const hanging = await look({ flags: { DATABASE_URL: url } });
      expect(hanging, "ingester", "fail", /pid 4711 on box gave no sign of life for 10 min/);
      assert.match(hanging.get("ingester")?.remedy ?? "", /still holds the database/);

      await store.close();
      const killed = await look({ flags: { DATABASE_URL: url } });
      expect(killed, "ingester", "fail", /no sign of life/, /Start it.*OOMKilled/);
    }));

  test("data that do not appear: a series that is late, with its reason", () =>
    withDatabase(async ({ url }) => {
      const store = await openStore({ url });
      const now = Date.now();
      await store.begin({ mode: "websocket", host: "box", pid: 1 }, [SERIES]);
      await store.want([{ series: SERIES, wantedFrom: now - 3_600_000 }], now);
      const problem = "exchange.test did not answer";
      await store.report(
        [{ series: SERIES, mode: "websocket", isStreamed: false, isCatchingUp: false, problem }],
        now,
      );
      const findings = await look({ flags: { DATABASE_URL: url } });
      expect(
        findings,
        "series",
        "fail",
        /BTCUSDT 1s stale \(exchange.test did not answer/,
        /status/,
      );
      await store.close();
    }));

  test("gaps that stay open and candles that were refused", () =>
    withDatabase(async ({ url }) => {
      const store = await openStore({ url });
      const now = Math.floor(Date.now() / 1_000) * 1_000;
      await store.begin({ mode: "websocket", host: "box", pid: 1 }, [SERIES]);
      await store.report([], now);
      await store.open([
        {
          series: SERIES,
          range: { from: now - 60_000, to: now - 50_000 },
          reason: "rejected",
          state: "open",
          foundTime: now - 8 * 3_600_000,
          emptyAnswers: 0,
          nextTryTime: now,
        },
      ]);
      const candle = {
        ...{ openTime: now, closeTime: now + 999, open: "1e5", high: "1", low: "1", close: "1" },
        ...{ volume: "1", quoteVolume: "1", tradeCount: 1 },
        ...{ takerBuyVolume: "0", takerBuyQuoteVolume: "0" },
      };
      await store.quarantine(
        { series: SERIES, candle, source: "rest", observedTime: now },
        { code: "not-a-decimal", detail: 'open is "1e5"' },
      );
      const findings = await look({ flags: { DATABASE_URL: url } });
      expect(
        findings,
        "gaps",
        "warn",
        /1 open gaps in BTCUSDT 1s, 1 .*3 h \(rejected\)/,
        /fill-gaps/,
      );
      expect(findings, "quarantine", "warn", /1 candles were refused.*open is "1e5"/, /proxy/);
      await store.close();
    }));

  test("a stored ban is told, and the exchange is not asked at all", () =>
    withDatabase(async ({ url }) => {
      const store = await openStore({ url });
      const untilTime = Date.now() + 600_000;
      await store.save({ exchange: "binance", untilTime, httpStatus: 418 }, 600_000);
      await store.close();
      const before = exchange.journal.counts();
      const findings = await look({ flags: { DATABASE_URL: url, ...exchangeSettings(exchange) } });
      expect(findings, "ban", "warn", /for another 10 min \(418\)/, /Wait/);
      for (const id of ["exchange-rest", "exchange-stream", "exchange-archive"]) {
        expect(findings, id, "skip", /a ban is stored/);
      }
      const { requestCount, upgradeCount } = exchange.journal.counts();
      assert.deepEqual([requestCount, upgradeCount], [before.requestCount, before.upgradeCount]);
    }));
});

describe("planted faults of the exchange", () => {
  const planted: readonly (readonly [
    answer: "451" | "403" | "500" | "html" | "truncated",
    found: RegExp,
    remedy: RegExp,
  ])[] = [
    ["451", /451|region/, /data-api.binance.vision/],
    ["403", /firewall/, /./],
    ["500", /500|trouble/, /again by itself/],
    ["html", /web page|HTML/, /proxy/],
    ["truncated", /broken JSON/, /proxy/],
  ];
  for (const [answer, found, remedy] of planted) {
    test(`REST answers ${answer}`, async () => {
      exchange.faults.set({ kind: "rest", answer });
      try {
        const findings = await look({
          flags: { ...exchangeSettings(exchange), INGESTION_MODE: "polling" },
        });
        expect(findings, "exchange-rest", "fail", found, remedy);
        expect(findings, "exchange-stream", "skip", /polling/);
        assert.equal(exitOf(findings), 4);
      } finally {
        exchange.faults.clear();
      }
    });
  }

  test("a ban that the doctor itself meets is stored for all", () =>
    withDatabase(async ({ url }) => {
      const banning = await startSimulator({ market: new SeededMarket(), clock: systemClock });
      banning.faults.set({ kind: "ban", ms: 300_000 });
      try {
        const flags = {
          DATABASE_URL: url,
          ...exchangeSettings(banning),
          INGESTION_MODE: "polling",
        };
        const findings = await look({ flags });
        expect(findings, "exchange-rest", "fail", /banned this address/);
        const again = await look({ flags });
        expect(again, "ban", "warn", /418/);
        expect(again, "exchange-rest", "skip", /a ban is stored/);
      } finally {
        await banning.close();
      }
    }));

  test("a host that cannot be resolved", async () => {
    const host = "https://exchange.invalid";
    const findings = await look({
      flags: { BINANCE_REST_URL: host, BINANCE_WS_URL: "wss://exchange.invalid" },
    });
    expect(findings, "exchange-rest", "fail", /cannot resolve host exchange.invalid/, /DNS/);
    expect(findings, "exchange-stream", "fail", /cannot resolve host/, /DNS.*polling/);
  });

  const certificate = selfSignedCertificate();
  test("a certificate that nobody vouches for", {
    skip: certificate === undefined ? "openssl is not here" : false,
  }, async () => {
    const server = createTlsServer(certificate ?? {}, (_request, response) => response.end("{}"));
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const { port } = server.address() as AddressInfo;
    try {
      const url = `https://127.0.0.1:${port}`;
      const findings = await look({ flags: { BINANCE_REST_URL: url } });
      expect(findings, "exchange-rest", "fail", /certificate .*not trusted/, /in its place/);
    } finally {
      server.close();
    }
  });

  test("a clock that is wrong", async () => {
    exchange.faults.set({ kind: "clockSkew", ms: 90_000 });
    try {
      const findings = await look({
        flags: { ...exchangeSettings(exchange), INGESTION_MODE: "polling" },
      });
      expect(findings, "clock", "warn", /90 s behind the exchange's/, /set-ntp/);
    } finally {
      exchange.faults.clear();
    }
  });

  test("symbols that are misspelt or halted", async () => {
    const flags = { ...exchangeSettings(exchange), INGESTION_MODE: "polling" };
    const misspelt = await look({ flags: { ...flags, TRADING_PAIRS: "BTCUSD" } });
    expect(misspelt, "symbols", "fail", /no symbol BTCUSD \(did you mean BTCUSDT/, /TRADING_PAIRS/);
    exchange.faults.set({ kind: "symbolStatus", symbol: "BTCUSDT", status: "BREAK" });
    try {
      const halted = await look({ flags });
      expect(halted, "symbols", "warn", /BTCUSDT \(BREAK\)/);
      assert.equal(exitOf(halted), 3);
    } finally {
      exchange.faults.clear();
    }
  });

  test("WebSockets that are refused, and an archive that is closed, while REST answers", async () => {
    exchange.faults.set({ kind: "refuseUpgrades", status: 451 });
    exchange.faults.set({ kind: "archive", answer: "403" });
    try {
      const findings = await look({ flags: exchangeSettings(exchange) });
      expect(findings, "exchange-rest", "ok", /answers/);
      expect(findings, "exchange-stream", "fail", /region \(451/, /data-stream.binance.vision/);
      expect(findings, "exchange-archive", "fail", /firewall|403/);
    } finally {
      exchange.faults.clear();
    }
  });

  test("a WebSocket over which nothing comes", async () => {
    const clock = scaledClock(8);
    const silent = await startSimulator({ market: new SeededMarket(), clock });
    silent.faults.set({ kind: "silence" });
    try {
      const findings = await look({ flags: exchangeSettings(silent), clock });
      expect(findings, "exchange-stream", "warn", /no candle came within 12 s/, /polling/);
    } finally {
      await silent.close();
    }
  });
});

describe("frequent disconnects", () => {
  test("are found in the counters of the running ingester, with their cause", async () => {
    const metrics = createMetrics("1.0.0", [SERIES]);
    const log = openLog({
      ...{ level: "silent", isPlain: true, hasColors: false, secrets: [] },
      write: () => undefined,
    });
    const record = createRecorder(metrics, log, "websocket", () => 0);
    const server = createServer(async (request, response) => {
      const isMetrics = request.url === "/metrics";
      response.end(isMetrics ? await metrics.registry.metrics() : '{"status":"alive"}');
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const { port } = server.address() as AddressInfo;
    const flags = { HTTP_PORT: String(port) };
    try {
      expect(await look({ flags }), "stream-stability", "ok", /^0 lost/);
      for (let count = 0; count < 6; count += 1) {
        const reason = count === 0 ? "no frame for 60 s" : "connection to x broke (ECONNRESET)";
        record({ kind: "disconnected", connection: "1", seriesCount: 1, reason });
      }
      const findings = await look({ flags });
      expect(findings, "stream-stability", "warn", /^6 lost .*broken 5, silent 1/, /line breaks/);
    } finally {
      server.close();
    }
  });

  test("request weight that others use up is told", () => {
    assert.equal(weightVerdict(300, "https://x").status, "ok");
    assert.equal(weightVerdict(5_200, "https://x").status, "warn");
  });
});

describe("planted faults of the machine and its settings", () => {
  test("settings that are wrong are all named, and what needs none is looked at", async () => {
    const findings = await look({
      flags: { TIMEFRAMES: "15min", HTTP_PORT: "99999" },
      env: { TRADING_PAIR: "BTCUSDT" },
    });
    expect(findings, "configuration", "fail", /did you mean 15m\?/);
    assert.match(findings.get("configuration")?.found ?? "", /HTTP_PORT.*99999/);
    expect(findings, "node", "ok", /Node.js/);
    expect(findings, "database", "skip", /first mend "configuration"/);
    assert.equal(exitOf(findings), 1);
  });

  test("a .env that others may read, and that the environment overrules", async () => {
    const envFile = join(folder, ".env");
    await writeFile(envFile, `API_TOKEN=${CANARY}-0123456789-abcdefgh\nLOG_LEVEL=debug\n`);
    await chmod(envFile, 0o644);
    const findings = await look({ envFile, env: { LOG_LEVEL: "warn" } });
    expect(findings, "env-file", "warn", /other users .* may read it/, /chmod 600/);
    expect(findings, "configuration", "ok", /overrules .env in LOG_LEVEL/);
    assert.doesNotMatch(JSON.stringify([...findings]), new RegExp(CANARY));
    await chmod(envFile, 0o600);
    expect(await look({ envFile }), "env-file", "ok", /\.env/);
  });

  test("a check of certificates that is switched off, and a proxy that has no effect", async () => {
    const unchecked = await look({ env: { NODE_TLS_REJECT_UNAUTHORIZED: "0" } });
    expect(unchecked, "network-environment", "fail", /switches the check/, /NODE_EXTRA_CA_CERTS/);
    const proxied = await look({ env: { HTTPS_PROXY: "http://proxy:3128" } });
    expect(proxied, "network-environment", "warn", /HTTPS_PROXY .*no effect/, /polling/);
  });

  test("a data folder and a mirror that are none, and a mirror that is not made yet", async () => {
    const file = join(folder, "file");
    await writeFile(file, "");
    const findings = await look({
      flags: { DATA_DIR: join(file, "data"), CSV_MIRROR_DIR: join(file, "mirror") },
    });
    expect(findings, "data-dir", "fail", /is not a folder/, /DATA_DIR/);
    expect(findings, "csv-mirror", "fail", /is not a folder/, /CSV_MIRROR_DIR/);
    const later = await look({ flags: { CSV_MIRROR_DIR: join(folder, "no", "mirror") } });
    expect(later, "csv-mirror", "ok", /is made at the first start/);
  });

  test("what was cut off in the folder of the embedded server, and data of another version", async () => {
    const dataDir = join(folder, "leftovers");
    const cluster = join(dataDir, "pg17");
    await mkdir(join(dataDir, "pg17.new-0a1b2c3d"), { recursive: true });
    await mkdir(cluster);
    await writeFile(join(cluster, "PG_VERSION"), "17\n");
    // No process of Linux has this number.
    await writeFile(`${cluster}.lock`, "4194305");
    const findings = await look({ flags: { DATA_DIR: dataDir } });
    expect(
      findings,
      "embedded",
      "warn",
      /lock .*pg17.lock is of a process that is gone/,
      /next start/,
    );
    assert.match(findings.get("embedded")?.found ?? "", /pg17.new-0a1b2c3d is an initialisation/);
    expect(findings, "database", "fail", /PostgreSQL 17/, /version of black-trade/);
  });

  test("a port in use: by whom, and whether it is this program", async () => {
    let answer = "hello";
    const server = createServer((_request, response) => response.end(answer));
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const { port } = server.address() as AddressInfo;
    try {
      const flags = { HTTP_PORT: String(port) };
      const who =
        process.platform === "linux" ? new RegExp(`node \\(pid ${process.pid}`) : /another/;
      expect(await look({ flags }), "http-port", "fail", who, /HTTP_PORT/);
      answer = JSON.stringify({ status: "alive" });
      expect(await look({ flags }), "http-port", "ok", /black-trade listens/);
    } finally {
      server.close();
    }
  });

  test("an address that this machine does not have", async () => {
    const flags = {
      HTTP_HOST: "192.0.2.1",
      HTTP_PORT: "9",
      API_TOKEN: "0123456789-abcdefghijklmnop",
    };
    expect(await look({ flags }), "http-port", "fail", /192.0.2.1:9/, /HTTP_HOST/);
  });

  test("Node.js, disk and memory are judged by what is needed", () => {
    assert.equal(nodeVersion("20.19.0").status, "fail");
    assert.equal(nodeVersion("22.17.1").status, "fail");
    assert.equal(nodeVersion("24.21.0").status, "ok");
    assert.equal(freeSpace(50e6, "/x").status, "fail");
    assert.equal(freeSpace(1e9, "/x").status, "warn");
    assert.equal(freeSpace(9e9, "/x").status, "ok");
    assert.equal(memory(128e6, 9e9).status, "fail");
    assert.equal(memory(300e6, 9e9).status, "warn");
    assert.equal(memory(undefined, 9e9).status, "ok");
  });
});

describe("the command", () => {
  const env = {
    ...exchangeSettings(NOWHERE),
    HTTP_PORT: "0",
  };

  test("one JSON document, with the exit status of the worst", async () => {
    const { stdout, status } = await runProgram(["doctor", "--json"], env, folder);
    const document = JSON.parse(stdout) as { exitStatus: number; checks: Finding[] };
    assert.equal(status, 4);
    assert.equal(document.exitStatus, 4);
    assert.deepEqual(
      document.checks.map(({ id }) => id),
      CHECKS.map(({ id }) => id),
    );
  });

  test("plain lines in the order of the checks, the remedy under each fault", async () => {
    const { stdout } = await runProgram(["doctor"], env, folder);
    const order = stdout
      .split("\n")
      .flatMap((line) => /^(?:ok|warn|FAIL|skip) +([a-z, -]+):/.exec(line)?.[1]?.split(", ") ?? []);
    assert.deepEqual(
      order,
      CHECKS.map(({ id }) => id),
    );
    assert.match(stdout, /FAIL {2}exchange-rest: .*refused.*\n {6}→ /);
    assert.match(stdout, /\d+ ok, \d+ to look at, \d+ to mend, \d+ skipped\n$/);
  });

  test("too few files may be opened", { skip: process.platform !== "linux" }, async () => {
    const bin = join(import.meta.dirname, "../bin/black-trade.js");
    const { execFile } = await import("node:child_process");
    const stdout = await new Promise<string>((resolve) => {
      execFile(
        "sh",
        ["-c", `ulimit -n 128; exec "${process.execPath}" "${bin}" doctor --json`],
        { cwd: folder, env: { ...process.env, ...env } },
        (_error, text) => resolve(text),
      );
    });
    const { checks } = JSON.parse(stdout) as { checks: Finding[] };
    const finding = checks.find(({ id }) => id === "file-limit");
    assert.equal(finding?.status, "fail", finding?.found);
    assert.match(finding?.remedy ?? "", /ulimit -n/);
  });
});

test("every check has its section in the troubleshooting guide, and no section is of a check that is none", async () => {
  const guide = await readFile(join(import.meta.dirname, "../docs/TROUBLESHOOTING.md"), "utf8");
  const sections = [...guide.matchAll(/^### `([a-z-]+)`/gm)].map(([, id]) => id);
  assert.deepEqual(
    sections,
    CHECKS.map(({ id }) => id),
  );
});
