/** A map of bounded size that forgets the entry not read for longest. */
export class Lru<Key, Value> {
  readonly #entries = new Map<Key, Value>();
  readonly #limit: number;
  /** Runs of reads ask for one key again and again; moving it to the end each time would cost more than the read. */
  #newest: { readonly key: Key; readonly value: Value } | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get(key: Key): Value | undefined {
    if (this.#newest?.key === key) return this.#newest.value;
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    this.#newest = { key, value };
    return value;
  }

  set(key: Key, value: Value): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    this.#newest = { key, value };
    if (this.#entries.size <= this.#limit) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      return;
    }
  }

  /** Forgets every entry whose key fulfils the condition. */
  forget(condition: (key: Key) => boolean): void {
    this.#newest = undefined;
    for (const key of this.#entries.keys()) if (condition(key)) this.#entries.delete(key);
  }
}
