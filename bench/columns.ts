import { spawn } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { openStore } from "../src/store/index.ts";
import { scriptOptions } from "../test/support/script-options.ts";
import { medianOf } from "./support/median.ts";
import { withCandles } from "./support/million-candles.ts";

/**
 * Reading columns of one series into typed arrays, beside psql copying the same columns in binary form to nowhere; in turns.
 * Run: `npm run bench:columns -- [--rows 1000000] [--rounds 7] [--json]`. Needs psql.
 */
const options = scriptOptions({
  rows: 1000000,
  rounds: 7,
  json: false,
});
const FIELDS = ["open", "high", "low", "close", "volume"] as const;
const EVER = { from: 0, to: Number.MAX_SAFE_INTEGER };

async function timed(act: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await act();
  return performance.now() - began;
}

async function psql(url: string): Promise<void> {
  const statement =
    "copy (select open_time, open, high, low, close, volume from candles where series_id = 1 order by open_time) to stdout (format binary)";
  const child = spawn("psql", ["-X", "-q", url, "-c", statement], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [status] = await once(child, "close");
  if (status !== 0) throw new Error(`psql ended with ${status}`);
}

const report = await withCandles(options.rows, async ({ url, series }) => {
  const store = await openStore({ url, access: "read" });
  const ours: number[] = [];
  const theirs: number[] = [];
  let rowCount = 0;
  try {
    await psql(url);
    for (let round = 0; round < options.rounds; round += 1) {
      ours.push(
        await timed(async () => {
          rowCount = (await store.columns(series, EVER, FIELDS)).openTime.length;
        }),
      );
      theirs.push(await timed(() => psql(url)));
    }
    const newest = await timed(() => store.columns(series, EVER, FIELDS, { newest: 100_000 }));
    return {
      rowCount,
      columnsMs: Math.round(medianOf(ours)),
      psqlMs: Math.round(medianOf(theirs)),
      ratio: Number((medianOf(ours) / medianOf(theirs)).toFixed(2)),
      newest100kMs: Math.round(newest),
      ...{ ours: ours.map(Math.round), theirs: theirs.map(Math.round) },
    };
  } finally {
    await store.close();
  }
});
process.stdout.write(
  options.json
    ? `${JSON.stringify(report)}\n`
    : [
        `${report.rowCount.toLocaleString("en-US")} candles, time and 5 decimals, median of ${options.rounds} rounds in turns (${availableParallelism()} cores, Node.js ${process.version})`,
        `columns ${report.columnsMs} ms   ${report.ours.join(" ")}`,
        `psql    ${report.psqlMs} ms   ${report.theirs.join(" ")}`,
        `ratio   ${report.ratio}`,
        `newest 100,000: ${report.newest100kMs} ms`,
        "",
      ].join("\n"),
);
