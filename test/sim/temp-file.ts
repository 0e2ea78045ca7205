/**
 * Stands in for `exchanges/binance/temp-file.ts` in the program under simulation: the same file, in memory, because a disk
 * takes real time. `test/sim/hooks.ts` puts it in its place.
 */
export class TempFile {
  #pieces: Uint8Array[] = [];
  #bytes: Buffer | undefined;
  #size = 0;

  static async create(_folder: string): Promise<TempFile> {
    return new TempFile();
  }

  get size(): number {
    return this.#size;
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.#pieces.push(bytes);
    this.#bytes = undefined;
    this.#size += bytes.byteLength;
  }

  async clear(): Promise<void> {
    this.#pieces = [];
    this.#bytes = undefined;
    this.#size = 0;
  }

  async readAt(offset: number, length: number): Promise<Buffer> {
    this.#bytes ??= Buffer.concat(this.#pieces);
    return this.#bytes.subarray(offset, offset + Math.max(0, length));
  }

  async close(): Promise<void> {
    await this.clear();
  }
}
