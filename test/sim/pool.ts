import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Done, Task } from "./worker.ts";

const WORKER = fileURLToPath(new URL("./worker.ts", import.meta.url));
/** Loaded before the program. */
export const HOOKS = fileURLToPath(new URL("./hooks.ts", import.meta.url));

/** A child process that does one run after another. */
export class Worker {
  readonly #child: ChildProcess;
  #ended: Error | undefined;

  /** @param mutant the planted defect that its program has */
  constructor(mutant?: string) {
    const env = { ...process.env };
    delete env.MUTANT;
    if (mutant !== undefined) env.MUTANT = mutant;
    this.#child = fork(WORKER, [], { execArgv: ["--import", HOOKS], env });
    this.#child.on("exit", (code) => {
      this.#ended ??= new Error(`the worker ended with ${code}`);
    });
  }

  /** Does one run. @throws {Error} when the child dies of it */
  run(task: Task): Promise<Done> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) return reject(this.#ended);
      const onExit = (code: number | null): void =>
        reject(new Error(`the worker ended with ${code}`));
      this.#child.once("exit", onExit);
      this.#child.once("message", (done) => {
        this.#child.off("exit", onExit);
        resolve(done as Done);
      });
      this.#child.send(task);
    });
  }

  stop(): void {
    this.#child.kill();
  }
}

/**
 * Runs tasks on several workers at once.
 * @param next the next task, or `undefined` when there are no more
 */
export async function runAll(
  jobs: number,
  next: () => Task | undefined,
  onDone: (done: Done) => void,
): Promise<void> {
  const workers = Array.from({ length: jobs }, () => new Worker());
  try {
    await Promise.all(
      workers.map(async (worker) => {
        for (let task = next(); task !== undefined; task = next()) onDone(await worker.run(task));
      }),
    );
  } finally {
    for (const worker of workers) worker.stop();
  }
}
