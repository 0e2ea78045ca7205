/** Lets one loop sleep until another part has something for it. A wake while nobody waits is not lost. */
export class Wakeup {
  #isPending = false;
  #waiters: (() => void)[] = [];

  /** Ends every wait, or the next one when nobody waits. */
  wake(): void {
    if (this.#waiters.length === 0) this.#isPending = true;
    for (const resolve of this.#waiters.splice(0)) resolve();
  }

  /** Resolves at the next wake, or as soon as `signal` is aborted. */
  async wait(signal: AbortSignal): Promise<void> {
    if (this.#isPending || signal.aborted) {
      this.#isPending = false;
      return;
    }
    let wake = (): void => {};
    await new Promise<void>((resolve) => {
      wake = resolve;
      this.#waiters.push(resolve);
      signal.addEventListener("abort", wake, { once: true });
    });
    signal.removeEventListener("abort", wake);
    this.#waiters = this.#waiters.filter((waiter) => waiter !== wake);
  }
}
