import { BlackTradeError } from "../../src/core/errors.ts";
import { randomFor } from "../sim/random.ts";
import { mutate } from "./mutate.ts";
import type { Target } from "./target.ts";

/** No input may hold the program up for longer (one that takes longer is tried again: it may have been the machine). */
const MAX_MS = 50;

/** An input that did what no input may do. */
export interface Finding {
  readonly target: string;
  readonly seed: number;
  readonly index: number;
  readonly what: string;
  /** The input, at most 2,000 characters of its JSON form. */
  readonly input: string;
}

/** What was tried. */
export interface FuzzReport {
  readonly target: string;
  readonly inputCount: number;
  /** How many were taken for what. */
  readonly words: Readonly<Record<string, number>>;
  readonly slowestMs: number;
  readonly findings: readonly Finding[];
}

/**
 * Gives a target inputs until `isEnough`; the same seed gives the same inputs.
 * @param only the one input to replay, by its index
 */
export async function fuzz(
  target: Target,
  seed: number,
  isEnough: (inputCount: number) => boolean,
  only?: number,
): Promise<FuzzReport> {
  const words: Record<string, number> = {};
  const findings: Finding[] = [];
  let slowestMs = 0;
  let index = only ?? 0;
  for (; !isEnough(index); index += 1) {
    const input = mutate(randomFor(seed, `${target.name}|${index}`), target.seeds);
    const read = (): Promise<{ word: string; tookMs: number }> => timed(target, input, seed, index);
    let { word, tookMs } = await read();
    for (let again = 0; tookMs > MAX_MS && again < 2; again += 1) {
      const next = await read();
      tookMs = Math.min(tookMs, next.tookMs);
    }
    if (tookMs > MAX_MS) word = `crash: took ${tookMs.toFixed(0)} ms`;
    slowestMs = Math.max(slowestMs, tookMs);
    words[word.startsWith("crash") ? "crash" : word] = (words[word] ?? 0) + 1;
    if (word.startsWith("crash")) {
      const shown = JSON.stringify(input.toString("latin1")).slice(0, 2_000);
      findings.push({ target: target.name, seed, index, what: word, input: shown });
    }
    if (only !== undefined) break;
  }
  return { target: target.name, inputCount: index - (only ?? 0), words, slowestMs, findings };
}

async function timed(
  target: Target,
  input: Buffer,
  seed: number,
  index: number,
): Promise<{ word: string; tookMs: number }> {
  const began = performance.now();
  const cpu = process.cpuUsage();
  const word = await wordFor(target, input, seed, index);
  const { user, system } = process.cpuUsage(cpu);
  // Waiting for a database or for a busy machine holds nobody up; a target that waits for ever has a deadline of its own.
  return { word, tookMs: Math.min(performance.now() - began, (user + system) / 1_000) };
}

async function wordFor(
  target: Target,
  input: Buffer,
  seed: number,
  index: number,
): Promise<string> {
  try {
    return await target.read(input, randomFor(seed, `${target.name}|${index}|choices`));
  } catch (error) {
    if (error instanceof BlackTradeError) return error.code;
    return `crash: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }
}
