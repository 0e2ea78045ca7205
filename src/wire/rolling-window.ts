/** Counts events of the last `spanMs`, each for exactly that long: no bucket through which a burst could slip. */
export class RollingWindow {
  readonly #spanMs: number;
  #times: number[] = [];

  constructor(spanMs: number) {
    this.#spanMs = spanMs;
  }

  /** Adds an event. @returns how many happened in the span that ends now, this one included */
  add(now: number): number {
    this.#times = this.#times.filter((time) => time > now - this.#spanMs);
    this.#times.push(now);
    return this.#times.length;
  }
}
