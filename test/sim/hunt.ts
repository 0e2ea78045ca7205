import type { Violation } from "./journal.ts";
import type { Mutant } from "./mutants.ts";
import { Worker } from "./pool.ts";

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

/** Looks for one planted defect, seed by seed. */
export async function hunt(
  { name, kinds = [] }: Mutant,
  { from, budget }: Pick<HuntOptions, "from" | "budget">,
): Promise<Catch> {
  const worker = new Worker(name);
  const sound = idle.pop() ?? new Worker();
  try {
    for (let seed = from; seed < from + budget; seed += 1) {
      const { outcome, setting } = await worker.run({ seed, kinds });
      const { violation } = outcome;
      if (violation === undefined) continue;
      // It is the defect that is seen only when the same world is sound without it.
      const without = await sound.run({ setting });
      if (without.outcome.violation !== undefined) continue;
      return { mutant: name, seedCount: seed - from + 1, seed, violation };
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
