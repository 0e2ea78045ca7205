import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { zstdDecompressSync } from "node:zlib";
import { parquetReadObjects } from "hyparquet";
import { Database, openStore } from "../src/store/index.ts";
import { TOKEN, versionOf } from "./support/api-stack.ts";
import { withDatabase } from "./support/postgres.ts";
import { exchangeSettings, Program } from "./support/program.ts";

/** Whatever `look` gives, once it is not undefined. */
async function until<T>(look: () => Promise<T | undefined>, ms = 60_000): Promise<T> {
  for (const deadline = Date.now() + ms; ; ) {
    const found = await look().catch(() => undefined);
    if (found !== undefined) return found;
    assert.ok(Date.now() < deadline, "waited for too long");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

test("ingest and serve beside it: live candles, jobs, files", { timeout: 180_000 }, () =>
  withDatabase(async ({ url: databaseUrl }) => {
    const dataDir = await mkdtemp(join(tmpdir(), "black-trade-api-"));
    const programs: Program[] = [];
    const start = (args: readonly string[], env: Record<string, string> = {}): Program => {
      const program = new Program(args, env, dataDir);
      programs.push(program);
      return program;
    };
    try {
      const simulator = start(["simulate", "--port", "0", "--symbols", "BTCUSDT", "--json"]);
      const { url, wsUrl } = JSON.parse((await simulator.says(/^\{.*\}$/m))[0]) as {
        url: string;
        wsUrl: string;
      };
      const env = {
        DATABASE_URL: databaseUrl,
        DATA_DIR: dataDir,
        HTTP_PORT: "0",
        API_TOKEN: TOKEN,
        TRADING_PAIRS: "BTCUSDT",
        TIMEFRAMES: "1s,1m",
        BACKFILL_DAYS: "0.02",
        ...exchangeSettings({ url, wsUrl }),
      };
      const ingester = start(["ingest"], env);
      const [, ingestUrl = ""] = await ingester.says(/HTTP on (http:[^ ]+?):? /);
      const headers = { authorization: `Bearer ${TOKEN}` };
      const get = (base: string, path: string) => fetch(`${base}${path}`, { headers });
      await until(async () => ((await get(ingestUrl, "/readyz")).ok ? true : undefined));

      const server = start(["serve", "--json"], env);
      const [, serveUrl = ""] = await server.says(/^\{"url":"([^"]+)"\}$/m);
      const summary = async (base: string) =>
        (await (await get(base, "/api/v1/status/summary")).json()) as { isIngesting: boolean };
      assert.equal((await summary(ingestUrl)).isIngesting, true);
      assert.equal((await summary(serveUrl)).isIngesting, false);

      // Closed candles of the other process come through the database; forming ones only where it is ingested.
      for (const [base, kinds] of [
        [ingestUrl, ["closed", "forming", "ready", "status"]],
        [serveUrl, ["closed", "ready", "status"]],
      ] as const) {
        const response = await get(base, "/api/v1/events?series=BTCUSDT:1s,BTCUSDT:1m");
        const told = new Set<string>();
        let closedCount = 0;
        for await (const part of response.body ?? []) {
          const text = Buffer.from(part).toString();
          for (const [, kind = ""] of text.matchAll(/^event: (\w+)$/gm)) {
            told.add(kind);
            if (kind === "closed") closedCount += 1;
          }
          // A minute that forms is told of every two seconds; half a minute is more than enough.
          if (closedCount >= 3 && (told.size === kinds.length || closedCount > 30)) break;
        }
        assert.deepEqual([...told].sort(), kinds);
      }
      const forming = async (base: string) => {
        const path = "/api/v1/candles?symbol=BTCUSDT&timeframe=1m&limit=1&forming=true";
        return ((await (await get(base, path)).json()) as { forming: object | null }).forming;
      };
      assert.notEqual(await until(async () => (await forming(ingestUrl)) ?? undefined), null);
      assert.equal(await forming(serveUrl), null);

      // A job of either process, over the real exchange adapters.
      for (const base of [ingestUrl, serveUrl]) {
        for (const request of [
          { kind: "backfill", timeframes: ["1m"], from: Date.now() - 3 * 3_600_000 },
          { kind: "verify", timeframes: ["1m"], isRepairing: true },
        ]) {
          const started = await fetch(`${base}/api/v1/jobs`, {
            method: "POST",
            headers: { ...headers, "content-type": "application/json" },
            body: JSON.stringify(request),
          });
          assert.equal(started.status, 202);
          const { location } = Object.fromEntries(started.headers);
          const job = await until(async () => {
            const { job: one } = (await (await get(base, location ?? "")).json()) as {
              job: { state: string; outcome?: { isWhole: boolean; remarks: string[] } };
            };
            return one.state === "waiting" || one.state === "running" ? undefined : one;
          });
          assert.equal(job.state, "done", JSON.stringify(job));
          assert.equal(job.outcome?.isWhole, true, JSON.stringify(job));
        }
        const { series } = (await (
          await get(base, "/api/v1/verification?timeframes=1m")
        ).json()) as { series: { certificate?: { isClean: boolean } }[] };
        assert.equal(series[0]?.certificate?.isClean, true);
      }

      // Files hold the same digits as JSON.
      const path = "/api/v1/candles?symbol=BTCUSDT&timeframe=1m&limit=100&to=";
      const page = `${path}${Date.now() - 3_600_000}`;
      const { candles } = (await (await get(serveUrl, page)).json()) as {
        candles: { openTime: number; close: string }[];
      };
      const csv = await (await get(serveUrl, `${page}&format=csv`)).text();
      const parquet = await (await get(serveUrl, `${page}&format=parquet`)).arrayBuffer();
      const rows = await parquetReadObjects({
        file: parquet,
        compressors: { ZSTD: (input) => new Uint8Array(zstdDecompressSync(input)) },
      });
      assert.ok(candles.length > 50);
      assert.equal(csv.trim().split("\n").length, candles.length + 1);
      assert.ok(candles.every(({ close }) => csv.includes(close)));
      assert.equal(rows.length, candles.length);
      for (const [index, { openTime, close }] of candles.entries()) {
        assert.equal(Number(rows[index]?.open_time), openTime);
        // This reader multiplies floats; the digits are exact in the file.
        assert.ok(Math.abs(Number(rows[index]?.close) - Number(close)) < 1e-6);
      }
      for (const format of ["arrow", "arrow-stream"]) {
        const bytes = await (await get(serveUrl, `${page}&format=${format}`)).arrayBuffer();
        assert.ok(bytes.byteLength > 1_000);
      }

      for (const program of [server, ingester]) {
        program.kill("SIGTERM");
        const { status, stderr } = await program.ended();
        assert.equal(status, 143, stderr);
        assert.ok(!stderr.includes(TOKEN));
      }
    } finally {
      for (const program of programs) program.kill("SIGKILL");
      await Promise.all(programs.map((program) => program.ended()));
      await rm(dataDir, { recursive: true, force: true });
    }
  }),
);

test("serve with a database user who may only read: all but jobs", { timeout: 60_000 }, () =>
  withDatabase(async ({ url }) => {
    const role = `bt_reader_${process.pid}`;
    const admin = new Database({ url });
    const dataDir = await mkdtemp(join(tmpdir(), "black-trade-api-"));
    await admin.run({ text: `create role ${role} login password 'secret'` });
    const env = {
      DATABASE_URL: url.replace(/\/\/[^@]*@/, `//${role}:secret@`),
      DATA_DIR: dataDir,
      HTTP_PORT: "0",
      API_TOKEN: TOKEN,
    };
    let server: Program | undefined;
    try {
      const series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" } as const;
      const store = await openStore({ url });
      await store.write([versionOf(series, Date.UTC(2026, 0, 1))], []);
      const refused = await new Program(["serve"], env, dataDir).ended();
      assert.equal(refused.status, 4);
      const [, grant = ""] = /run: (GRANT .*)$/im.exec(refused.stderr) ?? [];
      await admin.run({ text: grant });

      server = new Program(["serve", "--json"], env, dataDir);
      const [, base = ""] = await server.says(/^\{"url":"([^"]+)"\}$/m);
      const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" };
      const path = `${base}/api/v1/candles?symbol=BTCUSDT&timeframe=1m`;
      const { candles } = (await (await fetch(path, { headers })).json()) as { candles: object[] };
      assert.equal(candles.length, 1);
      const events = await fetch(`${base}/api/v1/events?kinds=closed`, { headers });
      await store.write([versionOf(series, Date.UTC(2026, 0, 1, 0, 1))], []);
      for await (const part of events.body ?? []) {
        if (Buffer.from(part).toString().includes("event: closed")) break;
      }
      await store.close();
    } finally {
      server?.kill("SIGKILL");
      await server?.ended();
      await admin.run({ text: `drop owned by ${role}` });
      await admin.run({ text: `drop role ${role}` });
      await admin.close();
      await rm(dataDir, { recursive: true, force: true });
    }
  }),
);
