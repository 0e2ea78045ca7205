import { type DecimalColumn, putAscii, putWhole } from "../../core/decimal-column.ts";

const CHUNK_BYTES = 1 << 18;
const DAY_MS = 86_400_000;
const COLON = 58;
const MINUS = 45;

/** Writes text of ASCII into chunks. Whoever writes asks for {@link room} first. */
export class TextWriter {
  #bytes = new Uint8Array(CHUNK_BYTES);
  #at = 0;
  #day = Number.NaN;
  #dayText = "";

  /**
   * Makes room for so many bytes.
   * @returns the chunk that had to make way
   */
  room(byteCount: number): Uint8Array | undefined {
    if (this.#at + byteCount <= this.#bytes.length) return undefined;
    const chunk = this.take();
    if (byteCount > this.#bytes.length) this.#bytes = new Uint8Array(byteCount);
    return chunk;
  }

  /** What was written since the last chunk. */
  take(): Uint8Array {
    const chunk = this.#bytes.subarray(0, this.#at);
    this.#bytes = new Uint8Array(this.#bytes.length);
    this.#at = 0;
    return chunk;
  }

  text(text: string): void {
    this.#at = putAscii(this.#bytes, this.#at, text);
  }

  byte(code: number): void {
    this.#bytes[this.#at] = code;
    this.#at += 1;
  }

  whole(value: number): void {
    if (value < 0) this.byte(MINUS);
    this.#at = putWhole(this.#bytes, this.#at, Math.abs(value));
  }

  decimal(column: DecimalColumn, row: number): void {
    this.#at = column.write(row, this.#bytes, this.#at);
  }

  /** UTC without a zone, `2024-06-17T00:00:00`; milliseconds only where there are some. */
  datetime(timeMs: number): void {
    const day = Math.floor(timeMs / DAY_MS);
    if (day !== this.#day) {
      this.#day = day;
      this.#dayText = new Date(day * DAY_MS).toISOString().slice(0, -"00:00:00.000Z".length);
    }
    this.text(this.#dayText);
    const ms = timeMs - day * DAY_MS;
    const seconds = Math.floor(ms / 1_000);
    this.#two(Math.floor(seconds / 3_600));
    this.byte(COLON);
    this.#two(Math.floor(seconds / 60) % 60);
    this.byte(COLON);
    this.#two(seconds % 60);
    const rest = ms % 1_000;
    if (rest !== 0) this.text(`.${String(rest).padStart(3, "0")}`);
  }

  #two(value: number): void {
    if (value < 10) this.whole(0);
    this.whole(value);
  }
}
