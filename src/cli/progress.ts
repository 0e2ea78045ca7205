import type { HistoryProgress } from "../ingest/history.ts";
import { duration, type Output } from "./output.ts";

/** Between two lines where nothing can be drawn over. */
const LINE_MS = 5_000;
const BAR_CELLS = 30;

/** Shows how far long work is: one line drawn over on a terminal, a line every few seconds elsewhere. On stderr. */
export class ProgressLine {
  readonly #isDrawn: boolean;
  readonly #columns: number;
  #lastLineMs = 0;

  constructor(output: Pick<Output, "columns">, isDrawn: boolean) {
    this.#isDrawn = isDrawn;
    this.#columns = output.columns;
  }

  show({ doneCandles, totalCandles, storedCount, elapsedMs }: HistoryProgress): void {
    const reached = Math.max(doneCandles, Math.min(storedCount, totalCandles));
    const share = totalCandles === 0 ? 1 : reached / totalCandles;
    const rate = elapsedMs > 0 ? (storedCount / elapsedMs) * 1_000 : 0;
    const leftMs = share > 0.01 && share < 1 ? (elapsedMs / share) * (1 - share) : undefined;
    const text = [
      `${Math.floor(share * 100)} %`,
      `${grouped(reached)} of ${grouped(totalCandles)} candles`,
      `${grouped(Math.round(rate))}/s`,
      leftMs === undefined ? "" : `${duration(leftMs)} left`,
    ]
      .filter((part) => part !== "")
      .join(" · ");
    if (this.#isDrawn) {
      const cells = Math.round(share * BAR_CELLS);
      const bar = `${"█".repeat(cells)}${"░".repeat(BAR_CELLS - cells)}`;
      process.stderr.write(`\r${`${bar} ${text}`.slice(0, this.#columns - 1)}\u001b[K`);
    } else if (elapsedMs - this.#lastLineMs >= LINE_MS) {
      this.#lastLineMs = elapsedMs;
      process.stderr.write(`${text}\n`);
    }
  }

  /** Clears the line for what comes next. */
  end(): void {
    if (this.#isDrawn) process.stderr.write("\r\u001b[K");
  }
}

/** A number with thin groups of three: `1,234,567`. */
export function grouped(value: number): string {
  return value.toLocaleString("en-US");
}
