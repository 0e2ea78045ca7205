import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { type Config, historyDays, isLoopback, loadConfig, SETTINGS, secretsOf } from "./config.ts";
import { BlackTradeError } from "./core/errors.ts";
import { TIMEFRAMES } from "./core/timeframe.ts";

const TOKEN = "mJ9y-Qf3Zp0_Kd7RxT2wVbN4";
const NO_FILE = join(tmpdir(), "no-such-env-file");

function load(env: Record<string, string>, flags = {}): Config {
  return loadConfig(flags, { env, envFile: NO_FILE });
}

function problemsOf(env: Record<string, string>): string[] {
  try {
    load(env);
  } catch (error) {
    assert.ok(error instanceof BlackTradeError);
    assert.equal(error.code, "E_CONFIG");
    assert.equal(error.exit, 2);
    return error.message.split("\n");
  }
  return [];
}

test("an empty environment gives the documented defaults", () => {
  const config = load({});
  assert.equal(config.databaseUrl, undefined);
  assert.equal(config.mode, "websocket");
  assert.deepEqual(config.symbols, ["BTCUSDT", "ETHUSDT"]);
  assert.deepEqual(config.timeframes, ["15m", "1h", "4h", "1d"]);
  assert.equal(config.http.port, 9090);
  assert.equal(config.http.host, "127.0.0.1");
  assert.equal(config.binance.restUrl, "https://data-api.binance.vision");
  assert.ok(
    Object.isFrozen(config) && Object.isFrozen(config.http) && Object.isFrozen(config.symbols),
  );
});

test("the settings of the replaced system's guide are understood", () => {
  const config = load({
    DATABASE_URL: "postgresql://user:password@localhost:5432/black_trade",
    INGESTION_MODE: "polling",
    TRADING_PAIRS: "BTCUSDT,ETHUSDT",
    TIMEFRAMES: "15m,1h,4h,1d",
    DB_ECHO: "false",
    WEBSOCKET_RECONNECT_DELAY: "5",
    METRICS_PORT: "9191",
  });
  assert.equal(config.mode, "polling");
  assert.equal(config.reconnectDelayMs, 5_000);
  assert.equal(config.http.port, 9191);
});

test("every mistake is told at once, each with its fix", () => {
  const problems = problemsOf({
    TIMEFRAMES: "15min,1H,60m,1mo,fortnight,1d,1d",
    INGESTION_MODE: "websockets",
    TRADING_PAIRS: "BTC/USDT,",
    HTTP_PORT: "80a",
    DATABASE_URL: "mysql://x",
    BINANCE_REST_URL: "https://api.binance.com/api/v3",
    TRADING_PAIR: "BTCUSDT",
    BACKFILL_DAYS: "-1",
    LOG_LEVEL: "verbose",
  });
  const text = problems.join("\n");
  for (const expected of [
    /TIMEFRAMES: "15min" is not a timeframe; did you mean 15m\?/,
    /"1H".*did you mean 1h\?/,
    /"60m".*did you mean 1h\?/,
    /"1mo".*did you mean 1M\?/,
    /"fortnight" is not a timeframe; one of 1s 1m/,
    /"1d" is listed twice/,
    /INGESTION_MODE: "websockets".*did you mean websocket\?/,
    /TRADING_PAIRS: "BTC\/USDT".*did you mean BTCUSDT\?/,
    /HTTP_PORT: "80a"/,
    /DATABASE_URL: .*postgresql:\/\//,
    /BINANCE_REST_URL: give the base without a path: https:\/\/api\.binance\.com/,
    /TRADING_PAIR: is not a setting; did you mean TRADING_PAIRS\?/,
    /BACKFILL_DAYS/,
    /LOG_LEVEL: "verbose"/,
  ]) {
    assert.match(text, expected);
  }
});

test("a secret is never shown, in whatever part of a wrong setting it stands", () => {
  for (const url of [
    "postgres:/user:S3CR3T@host",
    "S3CR3T",
    "mysql://u:S3CR3T@h/d",
    "postgresql://u:S3CR3T@h",
  ]) {
    assert.doesNotMatch(problemsOf({ DATABASE_URL: url }).join("\n"), /S3CR3T/);
  }
  assert.doesNotMatch(problemsOf({ API_TOKEN: "S3CR3T" }).join("\n"), /S3CR3T/);
});

test("secrets are found in both spellings of a database URL", () => {
  const config = load({
    DATABASE_URL: "postgresql://u:p%40ss@h/d?password=other",
    API_TOKEN: TOKEN,
  });
  assert.deepEqual(secretsOf(config).sort(), ["other", "p%40ss", "p@ss", TOKEN].sort());
});

test("listening beyond this machine needs a token", () => {
  assert.match(problemsOf({ HTTP_HOST: "0.0.0.0" }).join("\n"), /set API_TOKEN/);
  assert.equal(load({ HTTP_HOST: "0.0.0.0", API_TOKEN: TOKEN }).http.host, "0.0.0.0");
  for (const host of ["127.0.0.1", "127.9.9.9", "localhost", "::1"]) assert.ok(isLoopback(host));
  for (const host of ["0.0.0.0", "::", "10.0.0.1", "example.org", "127.evil.org"]) {
    assert.ok(!isLoopback(host), host);
  }
});

test("a token has 128 bits and can be sent", () => {
  const good = [TOKEN, "0123456789abcdef0123456789abcdef", "ab+/CD-_90~.".repeat(2)];
  for (const token of good) assert.equal(load({ API_TOKEN: token }).http.token, token);
  const bad = ["secret", "x".repeat(200), "0123456789abcdef01234567", "1234567890".repeat(3)];
  for (const token of [...bad, `${TOKEN} ${TOKEN}`, `${TOKEN}ü`]) {
    assert.match(problemsOf({ API_TOKEN: token }).join("\n"), /^API_TOKEN: /, token);
  }
});

test("names of a proxy need a token, and are names; origins are origins", () => {
  const name = { HTTP_ALLOWED_HOSTS: "Candles.example.com, 10.0.0.7" };
  assert.match(problemsOf(name).join("\n"), /HTTP_ALLOWED_HOSTS: .* set API_TOKEN/);
  const { http } = load({ ...name, API_TOKEN: TOKEN });
  assert.deepEqual(http.allowedHosts, ["candles.example.com", "10.0.0.7"]);
  for (const bad of ["http://a", "a/b", "a b", "*"]) {
    const env = { HTTP_ALLOWED_HOSTS: bad, API_TOKEN: TOKEN };
    assert.match(problemsOf(env).join("\n"), /is not a host name/, bad);
  }
  const origin = "https://charts.example.com:8443";
  assert.deepEqual(load({ HTTP_ALLOWED_ORIGINS: origin }).http.allowedOrigins, [origin]);
  for (const bad of ["*", "example.com", "https://a/", "https://a/b", "null"]) {
    assert.match(problemsOf({ HTTP_ALLOWED_ORIGINS: bad }).join("\n"), /is not an origin/, bad);
  }
});

test("plain connections are for this machine only", () => {
  assert.match(problemsOf({ BINANCE_REST_URL: "http://example.org" }).join("\n"), /only https/);
  assert.equal(
    load({ BINANCE_WS_URL: "ws://127.0.0.1:9443/" }).binance.wsUrl,
    "ws://127.0.0.1:9443",
  );
});

test("flags win over the environment, the environment over .env", () => {
  const folder = mkdtempSync(join(tmpdir(), "bt-config-"));
  const envFile = join(folder, ".env");
  writeFileSync(envFile, 'TRADING_PAIRS=ADAUSDT\nTIMEFRAMES="1m"\nHTTP_PORT=1000\nOTHER=1\n');
  const config = loadConfig(
    { TRADING_PAIRS: "BTCUSDT" },
    { env: { TRADING_PAIRS: "ETHUSDT", TIMEFRAMES: "5m" }, envFile },
  );
  assert.deepEqual(
    [config.symbols, config.timeframes, config.http.port],
    [["BTCUSDT"], ["5m"], 1000],
  );
  rmSync(folder, { recursive: true });
});

test("what was pasted into the wrong setting is not repeated", () => {
  const password = "hunter2!Secret#0815";
  const url = `postgresql://trader:${password.replace("#", "%23")}@db.example/black_trade`;
  const names = Object.keys(SETTINGS).filter(
    (name) => !["DATA_DIR", "API_TOKEN", "DATABASE_URL"].includes(name),
  );
  for (const name of names) {
    for (const pasted of [url, password, TOKEN]) {
      const said = problemsOf({ [name]: pasted }).join("\n");
      assert.doesNotMatch(said, /unter2|Secret|Qf3Zp0/, `${name}: ${said}`);
    }
  }
  assert.match(
    problemsOf({ HTTP_PORT: url }).join(),
    /HTTP_PORT: "pos…" \(\d+ characters\) is not/,
  );
});

test("a database may be named by a user, no host, and the folder of its socket", () => {
  const url = "postgresql://u:s3cr%40t@/db?host=/var/run/postgresql";
  const config = load({ DATABASE_URL: url });
  assert.equal(config.databaseUrl, url);
  assert.ok(secretsOf(config).includes("s3cr@t"));
  assert.match(
    problemsOf({ DATABASE_URL: "postgresql://u:p/w@h/db" }).join(),
    /is not of the form/,
  );
});

test("history wanted of a new series follows BACKFILL_DAYS, else the timeframe", () => {
  assert.equal(historyDays(load({}), "1m"), 7);
  assert.equal(historyDays(load({}), "1w"), 730);
  for (const timeframe of TIMEFRAMES)
    assert.equal(historyDays(load({ BACKFILL_DAYS: "3" }), timeframe), 3);
});

test("whatever a setting holds, the answer is a configuration or E_CONFIG", () => {
  const names = Object.keys(SETTINGS);
  fc.assert(
    fc.property(
      fc.constantFrom(...names),
      fc.string({ unit: "binary", maxLength: 40 }),
      (name, text) => {
        problemsOf({ [name]: text });
      },
    ),
  );
});

test("the README's table of settings is the one in the code", () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const table = readme.split("<!-- settings -->")[1]?.split("<!-- /settings -->")[0]?.trim();
  const rows = Object.entries(SETTINGS).map(
    ([name, { fallback, help }]) =>
      `| \`${name}\` | ${fallback === "" ? "" : `\`${fallback}\``} | ${help.replaceAll("|", "\\|")} |`,
  );
  assert.equal(table, ["| setting | default | meaning |", "|---|---|---|", ...rows].join("\n"));
});
