import assert from "node:assert/strict";
import { parseTime } from "../../src/cli/time-argument.ts";
import { loadConfig, SETTINGS, type SettingName } from "../../src/config.ts";
import {
  addDecimals,
  compareDecimals,
  isDecimal,
  shortestDecimal,
} from "../../src/core/decimal.ts";
import { describeTarget, maskPasswords, parseDatabaseUrl } from "../../src/store/connection-url.ts";
import { pick } from "../sim/random.ts";
import type { Target } from "./target.ts";

const NAMES = Object.keys(SETTINGS) as SettingName[];

const settings: Target = {
  name: "settings",
  seeds: [
    ...["BTCUSDT,ETHUSDT", "1m,1h", "postgresql://u:p@host:5432/db?sslmode=require", "9090", "30"],
    ...["wss://data-stream.binance.vision", "127.0.0.1", "websocket", "true", "./data"],
  ].map((text) => Buffer.from(text)),
  read: (input, random) => {
    const name = pick(random, NAMES);
    const config = loadConfig({}, { env: { [name]: input.toString() }, envFile: "/dev/null" });
    assert.ok(Object.isFrozen(config));
    assert.equal(({} as Record<string, unknown>).x, undefined, "no prototype was touched");
    return "valid";
  },
};

const times: Target = {
  name: "times on the command line",
  seeds: ["2025-01-01", "-7d", "now", "2025-01-01T12:00:00Z", "1735689600000"].map((text) =>
    Buffer.from(text),
  ),
  read: (input) => {
    const time = parseTime("--from", input.toString(), Date.UTC(2026, 0, 1));
    assert.ok(Number.isFinite(time));
    return "valid";
  },
};

const urls: Target = {
  name: "database URLs",
  seeds: [
    "postgresql://user:S3CR3T@host:5432/db",
    "postgres://u@/db?host=/run&password=S3CR3T",
    "postgresql://[::1]/x",
  ].map((text) => Buffer.from(text)),
  read: (input) => {
    const text = input.toString();
    maskPasswords(text);
    describeTarget(parseDatabaseUrl(text));
    return "valid";
  },
};

const decimals: Target = {
  name: "decimals",
  seeds: ["0.00000001", "29038.46000000", "999999999999.99999999", "0"].map((text) =>
    Buffer.from(text),
  ),
  read: (input) => {
    const text = input.toString();
    if (!isDecimal(text)) return "refused";
    assert.equal(compareDecimals(text, shortestDecimal(text)), 0);
    assert.equal(compareDecimals(addDecimals(text, "0"), text), 0);
    return "valid";
  },
};

/** What the user gives. */
export const USER_TARGETS: readonly Target[] = [settings, times, urls, decimals];
