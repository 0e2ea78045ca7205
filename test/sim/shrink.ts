import type { Fault } from "./faults.ts";
import type { Setting } from "./setting.ts";
import type { Outcome } from "./world.ts";

/** Runs that finding a smaller case may cost. */
const MAX_RUNS = 60;

/**
 * Looks for the few faults that are needed: whole kinds go first, then single faults, then they become shorter.
 * @param run does a run; the setting fails when the same check fails
 * @returns the smallest setting found that still fails
 */
export async function shrink(
  setting: Setting,
  oracle: string,
  run: (setting: Setting) => Promise<Outcome>,
): Promise<Setting> {
  let best = setting;
  let runs = 0;
  const attempt = async (faults: readonly Fault[], faultyMs = best.faultyMs): Promise<boolean> => {
    if (runs >= MAX_RUNS) return false;
    runs += 1;
    const candidate = { ...best, faults, faultyMs };
    const { violation } = await run(candidate);
    const isSame = violation?.oracle === oracle;
    if (isSame) best = candidate;
    return isSame;
  };
  for (const kind of new Set(setting.faults.map((fault) => fault.kind))) {
    await attempt(best.faults.filter((fault) => fault.kind !== kind));
  }
  for (const fault of [...best.faults].reverse()) {
    await attempt(best.faults.filter((other) => other !== fault));
  }
  for (const fault of best.faults) {
    const forMs = Math.floor(fault.forMs / 2);
    if (forMs > 1_000) {
      await attempt(best.faults.map((other) => (other === fault ? { ...fault, forMs } : other)));
    }
  }
  const lastMs = Math.max(60_000, ...best.faults.map(({ atMs, forMs }) => atMs + forMs + 60_000));
  if (lastMs < best.faultyMs) await attempt(best.faults, lastMs);
  return best;
}
