import { chosen, NUMBER, scriptOptions, TEXT } from "../support/script-options.ts";
import { type FuzzReport, fuzz } from "./fuzz.ts";
import { TARGETS } from "./targets.ts";

/**
 * `npm run fuzz -- [--seconds 60] [--seed N] [--target NAME] [--index N]`: inputs for every reader, for so long in all.
 * Ends with 1 when one of them crashed or hung; `--seed`, `--target` and `--index` replay it.
 */
const values = scriptOptions({
  seconds: 60,
  seed: process.pid,
  target: TEXT,
  index: NUMBER,
  json: false,
});
const names = chosen(
  values.target,
  TARGETS.map(({ name }) => name),
);
const targets = TARGETS.filter(({ name }) => names.includes(name));
const shareMs = (values.seconds * 1_000) / targets.length;
const reports: FuzzReport[] = [];
for (const make of targets) {
  const target = await make.open();
  const end = performance.now() + shareMs;
  const report = await fuzz(target, values.seed, () => performance.now() > end, values.index);
  await target.close?.();
  reports.push(report);
  const { inputCount, slowestMs, words, findings } = report;
  const top = Object.entries(words).sort(([, a], [, b]) => b - a);
  process.stderr.write(
    `${make.name}: ${inputCount} inputs, slowest ${slowestMs.toFixed(1)} ms, ${top.map(([word, count]) => `${word} ${count}`).join(", ")}\n`,
  );
  for (const { what, index, input } of findings.slice(0, 3)) {
    process.stderr.write(
      `  ${what}\n  input ${input.slice(0, 300)}\n  replay: npm run fuzz -- --target "${make.name}" --seed ${values.seed} --index ${index}\n`,
    );
  }
}
const sum = (of: (report: FuzzReport) => number): number =>
  reports.reduce((all, report) => all + of(report), 0);
const inputs = sum(({ inputCount }) => inputCount);
const findings = reports.flatMap(({ findings }) => findings);
const hangs = findings.filter(({ what }) => what.startsWith("crash: took")).length;
const slowest = Math.max(...reports.map(({ slowestMs }) => slowestMs));
if (values.json) process.stdout.write(`${JSON.stringify({ seed: values.seed, reports })}\n`);
process.stdout.write(
  `fuzz     inputs ${inputs}  crashes ${findings.length - hangs}  hangs ${hangs}  slowest ${slowest.toFixed(1)} ms  targets ${reports.length}  seed ${values.seed}\n`,
);
process.exitCode = findings.length === 0 ? 0 : 1;
