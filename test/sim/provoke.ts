import type { FaultKind } from "./faults.ts";
import { type Mark, PROVOKED_BY } from "./marks.ts";
import { Worker } from "./pool.ts";
import type { Tally } from "./report.ts";

/** Runs that one mechanism or fault may take. */
const MAX_RUNS = 12;

/**
 * What a number of drawn worlds did not show is looked for in worlds with more of what makes it act: so few of them are
 * enough, and a mechanism that never acts shows on every run.
 */
export async function provoke(tally: Tally, firstSeed: number): Promise<void> {
  const worker = new Worker();
  const look = async (kinds: readonly FaultKind[], isMissing: () => boolean): Promise<void> => {
    for (let seed = firstSeed; seed < firstSeed + MAX_RUNS && isMissing(); seed += 1) {
      tally.add(await worker.run({ seed, kinds }));
    }
  };
  try {
    for (const mark of tally.missingMarks() as Mark[]) {
      await look(PROVOKED_BY[mark] ?? [], () => tally.missingMarks().includes(mark));
    }
    for (const kind of tally.missingKinds() as FaultKind[]) {
      await look([kind], () => tally.missingKinds().includes(kind));
    }
  } finally {
    worker.stop();
  }
}
