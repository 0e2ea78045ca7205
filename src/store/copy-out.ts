import type { EventEmitter } from "node:events";

/** Messages of the server: a code of one byte, then a length that counts itself. */
const HEAD_BYTES = 5;
const COPY_OUT_RESPONSE = 0x48;
const COPY_DATA = 0x64;
/** What a server may say at any time: a notice, a changed setting, a notification. */
const ASIDES: ReadonlySet<number> = new Set([0x4e, 0x53, 0x41]);
const NOTHING = Buffer.alloc(0);

/** Given the bytes of a row, from `at` up to `end`; they are another's when it has returned. */
export type TakeRow = (view: DataView, at: number, end: number) => void;

/** What of the connection of `pg` is used here. */
interface Wire {
  readonly stream: EventEmitter;
  query(text: string): void;
}

/**
 * A `COPY … TO STDOUT` for `client.query()`. The server sends a message for each row ("messages sent from the backend will
 * always correspond to single data rows"), and they are read where they lie in what the socket gave: no object and no copy
 * a row, which a million of them would feel.
 */
export class CopyOut {
  /** Settles when the server has sent everything, or with what it refused with, a lost connection, or what `take` threw. */
  readonly done: Promise<void>;
  /** Rows, as the server counted them. */
  rowCount = 0;
  /** What `take` threw: no fault of the server. */
  fault: { readonly error: unknown } | undefined;
  readonly #text: string;
  readonly #take: TakeRow;
  readonly #onChunk: () => void;
  #wire: Wire | undefined;
  #parse: (chunk: Buffer) => void = () => undefined;
  #rest: Buffer = NOTHING;
  #isOver = false;
  #resolve: () => void = () => undefined;
  #reject: (error: unknown) => void = () => undefined;

  /** @param onChunk called for whatever comes, as a sign of life */
  constructor(text: string, take: TakeRow, onChunk: () => void) {
    this.#text = text;
    this.#take = take;
    this.#onChunk = onChunk;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Called by `pg`. Its types do not stand here, as they do not come with the package. */
  submit(connection: object): void {
    const wire = connection as Wire;
    const [parse] = wire.stream.listeners("data");
    this.#parse = parse as (chunk: Buffer) => void;
    this.#wire = wire;
    wire.stream.removeListener("data", this.#parse);
    wire.stream.on("data", this.#onData);
    wire.query(this.#text);
  }

  handleError(error: unknown): void {
    this.#giveBack(NOTHING);
    this.#reject(error);
  }

  handleCommandComplete({ text }: { readonly text: string }): void {
    this.rowCount = Number(/\d+$/.exec(text)?.[0] ?? 0);
  }

  handleReadyForQuery(): void {
    this.#resolve();
  }

  readonly #onData = (chunk: Buffer): void => {
    // After a fault of `take` nobody reads on: the caller gives the connection up.
    if (this.#isOver) return;
    this.#onChunk();
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = 0;
    while (at + HEAD_BYTES <= bytes.length && !this.#isOver) {
      const code = view.getUint8(at);
      const end = at + 1 + view.getUint32(at + 1);
      const isCopy = code === COPY_DATA || code === COPY_OUT_RESPONSE;
      if (!isCopy && !ASIDES.has(code)) {
        // The end, or an error: from here on the client of `pg` understands the rest.
        this.#giveBack(bytes.subarray(at));
        return;
      }
      if (end > bytes.length) break;
      if (code === COPY_DATA) this.#row(view, at + HEAD_BYTES, end);
      else if (!isCopy) this.#parse(bytes.subarray(at, end));
      at = end;
    }
    this.#rest = bytes.subarray(at);
  };

  #row(view: DataView, at: number, end: number): void {
    try {
      this.#take(view, at, end);
    } catch (error) {
      this.#isOver = true;
      this.fault = { error };
      this.#reject(error);
    }
  }

  #giveBack(rest: Buffer): void {
    const wire = this.#wire;
    if (wire === undefined) return;
    this.#wire = undefined;
    this.#rest = NOTHING;
    wire.stream.removeListener("data", this.#onData);
    wire.stream.on("data", this.#parse);
    if (rest.length > 0) this.#parse(rest);
  }
}
