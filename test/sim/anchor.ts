import { Worker } from "./pool.ts";
import { drawSetting } from "./setting.ts";

/** What two programs lost in the same worlds. */
export interface Losses {
  readonly plainCount: number;
  readonly ourCount: number;
  /** Candles that closed while there were faults. */
  readonly existingCount: number;
  /** The line of figures. */
  readonly line: string;
}

/** Puts a collector that only reconnects and inserts into the same worlds as ours. */
export async function naiveLosses(from: number, seedCount: number): Promise<Losses> {
  const worker = new Worker();
  const total = { plainCount: 0, ourCount: 0, existingCount: 0 };
  try {
    for (let seed = from; seed < from + seedCount; seed += 1) {
      const setting = { ...drawSetting(seed), mode: "websocket" as const };
      const ours = await worker.run({ setting });
      const plain = await worker.run({ setting, isPlain: true });
      total.ourCount += ours.outcome.lostCount;
      total.plainCount += plain.outcome.lostCount;
      total.existingCount += plain.outcome.existingCount;
    }
  } finally {
    worker.stop();
  }
  const line = `anchor   same faults against a plain "reconnect + insert" collector: lost ${total.plainCount} of ${total.existingCount}; black-trade lost ${total.ourCount}  seeds ${seedCount}`;
  return { ...total, line };
}
