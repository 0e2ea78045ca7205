import { setTimeout as wait } from "node:timers/promises";
import type { ChaosFault } from "./faults.ts";
import { Scene } from "./scene.ts";

/** What became of a run. */
export interface ChaosReport {
  readonly isGood: boolean;
  /** One line of figures. */
  readonly line: string;
  readonly healMs: Readonly<Record<string, number>>;
  readonly findings: readonly string[];
}

const HEAL_S = 60;

/** Strikes with one fault after another and lets it heal; compares every candle at the end. */
export async function chaos(
  faults: readonly ChaosFault[],
  say: (line: string) => void,
): Promise<ChaosReport> {
  const scene = await Scene.open();
  const healMs: Record<string, number> = {};
  const findings = scene.findings;
  try {
    scene.start();
    await scene.program.says(/Ingesting/);
    await scene.healed(60_000);
    for (const fault of faults) {
      try {
        await fault.strike(scene);
        await lookOn(scene, fault.lastS * 1_000);
        await fault.mend?.(scene);
        healMs[fault.name] = await scene.healed((fault.healS ?? HEAL_S) * 1_000);
        say(
          `${fault.name}: ${fault.lastS} s, whole again after ${((healMs[fault.name] ?? 0) / 1_000).toFixed(1)} s`,
        );
      } catch (error) {
        findings.push(`${fault.name}: ${error instanceof Error ? error.message : String(error)}`);
        say(`${fault.name}: FAILED, ${findings.at(-1)}`);
        await fault.mend?.(scene);
        if (scene.program.child.exitCode !== null) scene.start();
        await scene.healed(120_000).catch(() => undefined);
      }
    }
    // Corrections and confirmed answers are read again within half a minute.
    await wait(8_000);
    const until = scene.simulator.now();
    await scene.complete(60_000).catch(() => undefined);
    const { candles, lost, extra, wrong } = await scene.compare(until);
    const { violations, maxWeightPerMinute } = scene.simulator.journal.counts();
    const broken = Object.values(violations).reduce((sum, count) => sum + count, 0);
    findings.push(...[...lost.slice(0, 3), ...extra.slice(0, 3), ...wrong.slice(0, 3)]);
    const times = Object.values(healMs).sort((a, b) => a - b);
    const at = (share: number): string =>
      ((times[Math.floor((times.length - 1) * share)] ?? 0) / 1_000).toFixed(1);
    const { looks, false: lies } = scene.honesty;
    const isGood =
      lost.length + extra.length + wrong.length + broken + lies === 0 &&
      times.length === faults.length &&
      findings.length === 0;
    for (const finding of findings) say(`finding: ${finding}`);
    return {
      isGood,
      healMs,
      findings,
      line:
        `chaos    faults ${times.length}/${faults.length} healed  heal p50 ${at(0.5)} s max ${at(1)} s  candles ${candles}  ` +
        `lost ${lost.length}  extra ${extra.length}  wrong ${wrong.length}  false-active ${lies} of ${looks} looks  ` +
        `violations ${broken} of ${scene.simulator.journal.counts().requestCount} requests  weight ≤ ${maxWeightPerMinute} a minute`,
    };
  } finally {
    await scene.close();
  }
}

/** Looks at the status while a fault lasts; a database that does not answer has none. */
async function lookOn(scene: Scene, ms: number): Promise<void> {
  const end = performance.now() + ms;
  while (performance.now() < end) {
    await Promise.race([scene.isWhole().catch(() => false), wait(2_000)]);
    await wait(Math.min(500, Math.max(0, end - performance.now())));
  }
}
