import { systemClock } from "../clock.ts";
import type { Clock } from "../core/ports.ts";
import type { HistoryProgress } from "../ingest/history.ts";
import type { VerifyProgress } from "../ingest/verify.ts";
import { duration, type Output } from "./output.ts";

/** Between two lines where nothing can be drawn over. */
const LINE_MS = 5_000;
/** Between two drawings of one line. */
const DRAW_MS = 100;
const BAR_CELLS = 30;

/** Shows how far long work is: one line drawn over on a terminal, a line every few seconds elsewhere. On stderr. */
export class ProgressLine {
  readonly #isDrawn: boolean;
  readonly #columns: number;
  readonly #clock: Pick<Clock, "monotonic">;
  readonly #write: (text: string) => void;
  #lastLineMs = 0;
  #drawnMs = Number.NEGATIVE_INFINITY;

  /** @param write where it is drawn; stderr unless told */
  constructor(
    output: Pick<Output, "columns">,
    isDrawn: boolean,
    clock: Pick<Clock, "monotonic"> = systemClock,
    write: (text: string) => void = (text) => void process.stderr.write(text),
  ) {
    this.#isDrawn = isDrawn;
    this.#columns = output.columns;
    this.#clock = clock;
    this.#write = write;
  }

  /**
   * Shows progress that has only one count: what is done, by which road ever.
   * @param what the work in a word or two
   */
  phase(what: string): (progress: VerifyProgress) => void {
    const beganMs = this.#clock.monotonic();
    this.#lastLineMs = 0;
    this.#drawnMs = Number.NEGATIVE_INFINITY;
    return (progress) => {
      const elapsedMs = this.#clock.monotonic() - beganMs;
      const isLast = progress.doneCandles >= progress.totalCandles;
      if (this.#isDrawn && !isLast && elapsedMs - this.#drawnMs < DRAW_MS) return;
      this.#drawnMs = elapsedMs;
      this.show({ ...progress, storedCount: progress.doneCandles, elapsedMs }, what);
    };
  }

  show({ doneCandles, totalCandles, storedCount, elapsedMs }: HistoryProgress, what = ""): void {
    const reached = Math.max(doneCandles, Math.min(storedCount, totalCandles));
    const share = totalCandles === 0 ? 1 : reached / totalCandles;
    const rate = elapsedMs > 0 ? (storedCount / elapsedMs) * 1_000 : 0;
    const leftMs = share > 0.01 && share < 1 ? (elapsedMs / share) * (1 - share) : undefined;
    const text = [
      what,
      `${Math.floor(share * 100)} %`,
      `${grouped(reached)} of ${grouped(totalCandles)} candles`,
      `${grouped(Math.round(rate))}/s`,
      leftMs === undefined ? "" : `${duration(leftMs)} left`,
    ]
      .filter((part) => part !== "")
      .join(" · ");
    if (this.#isDrawn) {
      // The words come first: on a narrow terminal the bar is short.
      const room = Math.max(0, Math.min(BAR_CELLS, this.#columns - text.length - 2));
      const cells = Math.round(share * room);
      const bar = `${"█".repeat(cells)}${"░".repeat(room - cells)}`;
      this.#write(`\r${`${bar} ${text}`.trimStart().slice(0, this.#columns - 1)}\u001b[K`);
    } else if (elapsedMs - this.#lastLineMs >= LINE_MS) {
      this.#lastLineMs = elapsedMs;
      this.#write(`${text}\n`);
    }
  }

  /** Clears the line for what comes next. */
  end(): void {
    if (this.#isDrawn) this.#write("\r\u001b[K");
  }
}

/** A number with thin groups of three: `1,234,567`. */
export function grouped(value: number): string {
  return value.toLocaleString("en-US");
}
