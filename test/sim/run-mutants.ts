import { chosen, scriptOptions, TEXT } from "../support/script-options.ts";
import { huntAll, mutantLine } from "./hunt.ts";
import { MUTANTS } from "./mutants.ts";

const values = scriptOptions({
  only: TEXT,
  budget: 60,
  from: 1,
  jobs: 2,
});

const wanted = chosen(
  values.only,
  MUTANTS.map(({ name }) => name),
);
const mutants = MUTANTS.filter(({ name }) => wanted.includes(name));
const catches = await huntAll(mutants, {
  from: values.from,
  budget: values.budget,
  jobs: values.jobs,
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
