import { chosen, scriptOptions, TEXT } from "../support/script-options.ts";
import { LOAD_CASES } from "./cases.ts";
import { runCase } from "./run-case.ts";

/**
 * `npm run load -- [--cases L1,L2] [--seconds 60] [--json]`: loads on this machine, with exchange and database beside.
 * Ends with 1 when a limit was passed.
 */
const values = scriptOptions({
  cases: TEXT,
  seconds: 60,
  json: false,
});
const names = chosen(
  values.cases,
  LOAD_CASES.map(({ name }) => name),
);
const wanted = LOAD_CASES.filter(({ name, isOnlyNamed }) =>
  values.cases === undefined ? isOnlyNamed !== true : names.includes(name),
);
for (const one of wanted) {
  try {
    const report = await runCase(one, values.seconds, (line) => process.stderr.write(`${line}\n`));
    process.stdout.write(`${values.json ? JSON.stringify(report) : report.line}\n`);
    if (!report.isGood) process.exitCode = 1;
  } catch (error) {
    process.stdout.write(
      `load     ${one.name} FAILED: ${error instanceof Error ? error.message : String(error)}\n`,
    );
    process.exitCode = 1;
  }
}
