import type { Random } from "../sim/random.ts";

/** A place where bytes from outside are read. */
export interface Target {
  readonly name: string;
  /** Sound inputs, which mutations start from. */
  readonly seeds: readonly Buffer[];
  /**
   * Reads an input and checks what can be checked of the answer.
   * @returns one word for what it was taken for: `valid`, or why it was refused
   * @throws BlackTradeError = a typed refusal; anything else is a crash
   */
  read(input: Buffer, random: Random): string | Promise<string>;
  /** Gives back what it holds. */
  close?(): Promise<void>;
}

/** A target that is opened when its turn comes. */
export interface TargetMaker {
  readonly name: string;
  /** Inputs in `npm test`, when not the usual number. */
  readonly testInputs?: number;
  open(): Promise<Target>;
}
