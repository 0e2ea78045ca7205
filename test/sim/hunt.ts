import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Violation } from "./journal.ts";
import { type Mutant, mutate } from "./mutants.ts";
import { HOOKS, Worker } from "./pool.ts";

/** What became of a planted defect. */
export interface Catch {
  readonly mutant: string;
  /** Runs that it took; the whole budget when it was not seen. */
  readonly seedCount: number;
  /** The seed and the check that saw it. */
  readonly seed?: number;
  readonly violation?: Violation;
}

interface HuntOptions {
  /** First seed. */
  readonly from: number;
  /** Seeds that each defect may take. */
  readonly budget: number;
  /** Looks first where it was seen before. */
  readonly isHinted?: boolean;
  readonly jobs: number;
  readonly onCatch?: (one: Catch) => void;
}

/** Looks for every planted defect, each in a process of its own. */
export async function huntAll(mutants: readonly Mutant[], options: HuntOptions): Promise<Catch[]> {
  const waiting = [...mutants];
  const catches: Catch[] = [];
  const hunter = async (): Promise<void> => {
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const found = await hunt(mutant, options);
      catches.push(found);
      options.onCatch?.(found);
    }
  };
  await Promise.all(Array.from({ length: options.jobs }, hunter));
  endHunts();
  return catches;
}

/** Workers with the sound program that nobody uses at the moment: each hunt needs one for a single run. */
const idle: Worker[] = [];

/** Ends what hunts have left running. */
export function endHunts(): void {
  for (const worker of idle.splice(0)) worker.stop();
}

/** A test that waits for what a defect has taken away would wait for ever. */
const TEST_TIMEOUT_MS = "30000";

/** Looks for one planted defect. */
export async function hunt(
  mutant: Mutant,
  options: Pick<HuntOptions, "from" | "budget" | "isHinted">,
): Promise<Catch> {
  return mutant.test === undefined
    ? huntInWorlds(mutant, options)
    : huntByTest(mutant, mutant.test);
}

/** A defect outside of the simulated part: a test with a real server has to fail. */
async function huntByTest(
  mutant: Mutant,
  { file, name }: NonNullable<Mutant["test"]>,
): Promise<Catch> {
  // One whose text has gone would fail the test, too.
  mutate(mutant, readFileSync(new URL(`../../src/${mutant.file}`, import.meta.url), "utf8"));
  const filter = name === "" ? [] : ["--test-name-pattern", name];
  const runner = ["--test", "--test-timeout", TEST_TIMEOUT_MS, "--test-force-exit"];
  const child = spawn(process.execPath, ["--import", HOOKS, ...runner, ...filter, file], {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
    env: { ...process.env, MUTANT: mutant.name, NODE_TEST_CONTEXT: undefined },
    stdio: "ignore",
  });
  const [code] = (await once(child, "exit")) as [number | null];
  const caught = { mutant: mutant.name, seedCount: 0 };
  if (code === 0) return caught;
  return { ...caught, violation: { oracle: "test", time: 0, detail: `${file} ${name}` } };
}

/** Looks for it seed by seed. */
async function huntInWorlds(
  { name, kinds = [], isPatient = false, seed: hint }: Mutant,
  { from, budget, isHinted = false }: Pick<HuntOptions, "from" | "budget" | "isHinted">,
): Promise<Catch> {
  const worker = new Worker(name);
  const sound = idle.pop() ?? new Worker();
  try {
    const seeds = Array.from({ length: budget }, (_, index) => from + index);
    if (isHinted && hint !== undefined) seeds.unshift(hint);
    for (const [index, seed] of seeds.entries()) {
      const { outcome, setting } = await worker.run({ seed, kinds, isPatient });
      const { violation } = outcome;
      if (violation === undefined) continue;
      // It is the defect that is seen only when the same world is sound without it.
      const without = await sound.run({ setting });
      if (without.outcome.violation !== undefined) continue;
      return { mutant: name, seedCount: index + 1, seed, violation };
    }
    return { mutant: name, seedCount: budget };
  } finally {
    worker.stop();
    idle.push(sound);
  }
}

/** The line of figures. */
export function mutantLine(catches: readonly Catch[]): string {
  const caught = catches.filter(({ violation }) => violation !== undefined);
  const slowest = Math.max(0, ...caught.map(({ seedCount }) => seedCount));
  return `mutants  ${caught.length}/${catches.length} caught  slowest ${slowest} seeds`;
}
