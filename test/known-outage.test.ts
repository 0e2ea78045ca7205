import assert from "node:assert/strict";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "../src/clock.ts";
import { SeededMarket, seededSymbols, startSimulator } from "../src/simulator/index.ts";
import { exchangeSettings, runProgram } from "./support/program.ts";

const KNOWN = /^(in part )?known Binance outage 2021-04-25 04:01–08:45 \(binance\//;

test("a known outage is named beside the gap, and changes neither state nor exit status", {
  timeout: 120_000,
}, async () => {
  const market = new SeededMarket({
    symbols: seededSymbols(["BTCUSDT"]),
    listedAt: Date.UTC(2021, 3, 20),
    outages: [
      { from: Date.UTC(2021, 3, 25, 4, 1), to: Date.UTC(2021, 3, 25, 8, 45) },
      { from: Date.UTC(2021, 3, 25, 20), to: Date.UTC(2021, 3, 25, 21) },
    ],
  });
  const startAt = Date.UTC(2021, 3, 26, 12);
  const simulator = await startSimulator({ market, clock: systemClock, startAt });
  const dataDir = await mkdtemp(join(tmpdir(), "bt-outage-"));
  await chmod(dataDir, 0o755);
  const env = {
    DATA_DIR: dataDir,
    ...exchangeSettings(simulator),
  };
  const range = ["--from", "2021-04-25", "--to", "2021-04-26"];
  const series = ["--symbols", "BTCUSDT", "--timeframes", "1m"];
  const run = (...args: string[]) => runProgram([...args, ...series, ...range], env);
  try {
    const plan = await run("backfill", "--dry-run");
    assert.equal(plan.status, 3, plan.stderr);
    assert.match(plan.stdout, /REASON\n.*not-fetched; in part known Binance outage 2021-04-25/);

    const loaded = await run("backfill", "--json");
    assert.equal(loaded.status, 3, loaded.stderr);
    const left = JSON.parse(loaded.stdout).summary.outcomes.flatMap(
      (one: { left: object[] }) => one.left,
    );
    assert.equal(left.length, 2);
    assert.match(left[0].knownOutage, KNOWN);
    assert.equal(left[1].knownOutage, null);
    for (const { state, reason } of left) {
      assert.deepEqual([state, reason], ["open", "exchange-had-none"]);
    }

    const listed = await run("verify", "--list");
    assert.equal(listed.status, 3, listed.stderr);
    assert.match(listed.stdout, /had none; known Binance outage 2021-04-25 04:01–08:45/);
    const { findings } = JSON.parse((await run("verify", "--json")).stdout);
    const gaps = findings.filter(({ check }: { check: string }) => check === "gaps");
    assert.equal(gaps.length, 2);
    assert.match(gaps[0].knownOutage, KNOWN);
    assert.equal(gaps[1].knownOutage, null);
    assert.deepEqual([gaps[0].severity, gaps[0].evidence], [gaps[1].severity, gaps[1].evidence]);
  } finally {
    await simulator.close();
    await rm(dataDir, { recursive: true, force: true });
  }
});
