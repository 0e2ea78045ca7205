import { parseArgs } from "node:util";
import { huntAll, mutantLine } from "./hunt.ts";
import { MUTANTS } from "./mutants.ts";

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    budget: { type: "string", default: "60" },
    from: { type: "string", default: "1" },
    jobs: { type: "string", default: "2" },
  },
});

const mutants = MUTANTS.filter(({ name }) => values.only?.split(",").includes(name) ?? true);
const catches = await huntAll(mutants, {
  from: Number(values.from),
  budget: Number(values.budget),
  jobs: Number(values.jobs),
  onCatch: ({ mutant, seedCount, violation }) => {
    const what = violation === undefined ? "NOT SEEN" : `${violation.oracle}: ${violation.detail}`;
    print(`${mutant.padEnd(30)} ${String(seedCount).padStart(3)} seeds  ${what}`);
  },
});
print(mutantLine(catches));
if (catches.some(({ violation }) => violation === undefined)) process.exitCode = 1;

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
