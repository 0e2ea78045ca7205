/** Fingerprint of a run: two runs with the same one did the same things at the same instants. */
export class Trace {
  #high = 0xdeadbeef;
  #low = 0x41c6ce57;
  #count = 0;

  /** Adds something that happened. */
  add(time: number, text: string): void {
    this.#count += 1;
    this.#feed(String(time));
    this.#feed(text);
  }

  /** Hash of everything so far, with the number of lines. */
  digest(): string {
    return `${this.#high.toString(16).padStart(8, "0")}${this.#low.toString(16).padStart(8, "0")}-${this.#count}`;
  }

  #feed(text: string): void {
    for (let index = 0; index < text.length; index += 1) {
      const code = text.charCodeAt(index);
      this.#high = Math.imul(this.#high ^ code, 2_654_435_761) >>> 0;
      this.#low = Math.imul(this.#low ^ code, 1_597_334_677) >>> 0;
    }
    this.#high = (this.#high ^ (this.#low >>> 13)) >>> 0;
  }
}
