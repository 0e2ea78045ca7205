import { parseArgs } from "node:util";
import { type FuzzReport, fuzz } from "./fuzz.ts";
import { TARGETS } from "./targets.ts";

/**
 * `npm run fuzz -- [--seconds 60] [--seed N] [--target NAME] [--index N]`: inputs for every reader, for so long in all.
 * Ends with 1 when one of them crashed or hung; `--seed`, `--target` and `--index` replay it.
 */
const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: String(process.pid) },
    target: { type: "string" },
    index: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const chosen = TARGETS.filter(({ name }) => values.target === undefined || name === values.target);
if (chosen.length === 0) {
  process.stderr.write(
    `no such target; there are: ${TARGETS.map(({ name }) => name).join(", ")}\n`,
  );
  process.exit(2);
}
const shareMs = (Number(values.seconds) * 1_000) / chosen.length;
const reports: FuzzReport[] = [];
for (const make of chosen) {
  const target = await make.open();
  const end = performance.now() + shareMs;
  const only = values.index === undefined ? undefined : Number(values.index);
  const report = await fuzz(target, Number(values.seed), () => performance.now() > end, only);
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
if (values.json)
  process.stdout.write(`${JSON.stringify({ seed: Number(values.seed), reports })}\n`);
process.stdout.write(
  `fuzz     inputs ${inputs}  crashes ${findings.length - hangs}  hangs ${hangs}  slowest ${slowest.toFixed(1)} ms  targets ${reports.length}  seed ${values.seed}\n`,
);
process.exitCode = findings.length === 0 ? 0 : 1;
