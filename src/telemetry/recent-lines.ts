/** A line of the log. */
export interface LogLine {
  /** Grows by one from line to line. */
  readonly id: number;
  /** Epoch ms. */
  readonly time: number;
  readonly level: string;
  readonly text: string;
}

const MAX_LINES = 300;

/** The newest lines of the log, for those who look at the page rather than at the log. */
export class RecentLines {
  readonly #lines: LogLine[] = [];
  #nextId = 1;

  /** Keeps a line; of more than 300 the oldest goes. */
  add(time: number, level: string, text: string): void {
    this.#lines.push({ id: this.#nextId, time, level, text });
    this.#nextId += 1;
    if (this.#lines.length > MAX_LINES) this.#lines.shift();
  }

  /** Lines after `id`, the oldest first. */
  after(id: number): readonly LogLine[] {
    return this.#lines.filter((line) => line.id > id);
  }
}
