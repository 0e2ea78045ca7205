import { type BackoffPolicy, backoffDelay } from "../core/backoff.ts";
import type { Pacing } from "./contention.ts";
import type { Database, Session } from "./database.ts";

const CHANNEL = "black_trade_candle_changes";
const RETRY: BackoffPolicy = { baseMs: 250, capMs: 10_000 };

/**
 * Hears that something was committed, on one connection for all followers of a store, held while there is one. A lost
 * connection is made anew; followers look for themselves meanwhile, so a notification that is lost costs only time.
 */
export class ChangeListener {
  readonly #database: Database;
  readonly #pacing: Pacing;
  readonly #isPooled: boolean;
  readonly #waiting = new Set<() => void>();
  #followerCount = 0;
  #heardCount = 0;
  #session: Session | undefined;
  #isOpening = false;

  /** @param isPooled behind a pooler in transaction mode notifications never arrive: it does not listen */
  constructor(database: Database, pacing: Pacing, isPooled: boolean) {
    this.#database = database;
    this.#pacing = pacing;
    this.#isPooled = isPooled;
  }

  /** True while a commit anywhere is heard. */
  get isListening(): boolean {
    return this.#session?.isAlive === true;
  }

  /** Begins to listen for one more follower. @returns to be called when it has ended */
  join(): () => void {
    this.#followerCount += 1;
    if (!this.#isPooled) void this.#keepListening();
    return () => {
      this.#followerCount -= 1;
      if (this.#followerCount === 0) void this.#hangUp();
    };
  }

  /** Grows with every commit that is heard, and with every connection that is lost or made. */
  get heardCount(): number {
    return this.#heardCount;
  }

  /** Resolves as soon as more was heard than `heardCount`, after `ms`, or when the signal is aborted. */
  hears(heardCount: number, ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(end);
        signal.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.#waiting.add(end);
      signal.addEventListener("abort", end);
      if (signal.aborted || heardCount !== this.#heardCount) end();
    });
  }

  #wake(): void {
    this.#heardCount += 1;
    for (const end of this.#waiting) end();
  }

  async #keepListening(): Promise<void> {
    if (this.#isOpening) return;
    this.#isOpening = true;
    for (let attempt = 0; this.#followerCount > 0 && !this.isListening; attempt += 1) {
      try {
        await this.#open();
      } catch {
        await this.#pacing.sleep(backoffDelay(RETRY, attempt, this.#pacing.random()));
      }
    }
    this.#isOpening = false;
    if (this.#followerCount === 0) await this.#hangUp();
    this.#wake();
  }

  async #open(): Promise<void> {
    const session = await this.#database.openSession("black-trade follow");
    session.onNotification(() => this.#wake());
    session.onEnd(() => {
      this.#wake();
      if (this.#followerCount > 0) void this.#keepListening();
    });
    try {
      await session.run({ text: `listen ${CHANNEL}` });
    } catch (error) {
      await session.close();
      throw error;
    }
    this.#session = session;
  }

  async #hangUp(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.close();
  }
}
