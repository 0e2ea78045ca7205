import { refuse, scriptOptions } from "../support/script-options.ts";
import { type ChaosReport, chaos } from "./chaos.ts";
import { CRASH_POINTS, crashes } from "./crash-points.ts";
import { CHAOS_FAULTS } from "./faults.ts";
import { KERNEL_CASES } from "./kernel.ts";

/**
 * `npm run chaos -- [--only PATTERN] [--hits 1,7] [--json]`: the real program, real PostgreSQL and the exchange simulator
 * through faulty roads; then kill -9 at every crash point; then what only the kernel can do. Ends with 1 when a candle was
 * lost, invented or wrong, a status lied, or a rule of the exchange was broken.
 */
const values = scriptOptions({
  only: "",
  hits: "1,7",
  json: false,
});
const wanted = new RegExp(values.only, "i");
const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};
const hits = values.hits.split(",").map(Number);
const faults = CHAOS_FAULTS.filter(({ name }) => wanted.test(name));
const points = CRASH_POINTS.filter(({ name }) => wanted.test(`crash: ${name}`));
const kernel = KERNEL_CASES.filter(({ name }) => wanted.test(`kernel: ${name}`));

if (faults.length + points.length + kernel.length === 0) refuse(`nothing is called ${values.only}`);
if (hits.some((hit) => !Number.isInteger(hit) || hit < 1))
  refuse(`--hits ${values.hits}: not numbers`);

let isGood = true;
const reports: Record<string, unknown> = {};
if (faults.length > 0) {
  const report: ChaosReport = await chaos(faults, say);
  reports.chaos = report;
  isGood &&= report.isGood;
  process.stdout.write(`${report.line}\n`);
}
if (points.length > 0) {
  const report = await crashes(points, hits, say);
  reports.crashes = report;
  isGood &&= report.isGood;
  process.stdout.write(`${report.line}\n`);
}
if (kernel.length > 0) {
  const results: { name: string; result: string }[] = [];
  for (const { name, run } of kernel) {
    const result = await run().catch((error: unknown) => `FAILED: ${String(error)}`);
    say(`kernel: ${name}: ${result}`);
    results.push({ name, result });
    isGood &&= !result.startsWith("FAILED");
  }
  reports.kernel = results;
  const skipped = results.filter(({ result }) => result.startsWith("skipped"));
  const failed = results.filter(({ result }) => result.startsWith("FAILED"));
  const why = skipped.map(({ name, result }) => `${name}: ${result.slice(9)}`).join("; ");
  process.stdout.write(
    `kernel   ${results.length - skipped.length - failed.length} passed  ${failed.length} failed  ${skipped.length} skipped${why === "" ? "" : ` (${why})`}\n`,
  );
}
if (values.json) process.stdout.write(`${JSON.stringify(reports)}\n`);
process.exitCode = isGood ? 0 : 1;
