import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** The simulator in a process of its own. */
export interface Exchange {
  readonly url: string;
  /** The archive, with its files kept in memory. */
  readonly archiveUrl: string;
  readonly pid: number | undefined;
  stop(): Promise<void>;
}

/** What the exchange is to be. */
export interface ExchangeShape {
  readonly symbols: readonly string[];
  /** What its clock says at first, epoch ms. */
  readonly startAt: number;
  /** So many days of minutes of each symbol have room in its memory. */
  readonly days: number;
}

/** What the exchange counted. */
export interface Counts {
  readonly requests: Readonly<Record<string, number>>;
  readonly maxWeightPerMinute: number;
  readonly violations: Readonly<Record<string, number>>;
}

/** Starts one. */
export async function startExchange(shape: ExchangeShape): Promise<Exchange> {
  const script = fileURLToPath(new URL("archive-exchange.ts", import.meta.url));
  const child = fork(script, [JSON.stringify(shape)]);
  const [urls] = (await once(child, "message")) as [Pick<Exchange, "url" | "archiveUrl">];
  const stop = async (): Promise<void> => {
    child.disconnect();
    await once(child, "exit");
  };
  return { ...urls, pid: child.pid, stop };
}

/** Its journal so far. */
export async function countsOf({ url }: Exchange): Promise<Counts> {
  const journal = (await (await fetch(`${url}/sim/journal`)).json()) as { counts: Counts };
  return journal.counts;
}
