import type { Candle } from "../core/candle.ts";
import type { CloseClock } from "../core/close-clock.ts";
import { SETTLE_MS, type Source } from "../core/finality.ts";
import { rejectedGap } from "../core/gaps.ts";
import type { Series } from "../core/series.ts";
import { cellOf, nextOpenTime } from "../core/timeframe.ts";
import { validateCandle } from "../core/validate.ts";
import type { Writer } from "./writer.ts";

/**
 * The one door by which closed candles come in, whatever road they took: checked, given to the writer, and told to the
 * close clock. Every candle offered here is stored, identical, superseded, quarantined or shed; none disappears.
 */
export class Intake {
  readonly #writer: Writer;
  readonly #closeClock: CloseClock | undefined;

  /** @param closeClock of live ingestion; what only loads history has none */
  constructor(writer: Writer, closeClock?: CloseClock) {
    this.#writer = writer;
    this.#closeClock = closeClock;
  }

  /**
   * Takes a closed candle.
   * @param observedTime exchange time (epoch ms) at which this version was seen
   * @returns what became of it here; a taken one may still turn out identical, superseded or refused by the database
   */
  take(
    series: Series,
    candle: Candle,
    source: Source,
    observedTime: number,
  ): "taken" | "refused" | "shed" {
    const versioned = { series, candle, source, observedTime };
    const rejection = validateCandle(candle, observedTime);
    if (rejection !== undefined) {
      const isKept = this.#writer.refuse(versioned, rejection);
      // REST may still serve a sound version of what the stream garbled; what REST serves unsound waits in the ledger.
      if (isKept && source !== "stream" && Number.isSafeInteger(candle.openTime)) {
        const gap = rejectedGap(series, candle.openTime, observedTime);
        if (this.#writer.explain(gap)) this.#closeClock?.explained(series, gap.range);
      }
      return "refused";
    }
    if (this.#writer.offer(versioned) === "shed") {
      this.#closeClock?.explained(series, cellOf(series.timeframe, candle.openTime));
      return "shed";
    }
    const settleTime = nextOpenTime(series.timeframe, candle.openTime) + SETTLE_MS;
    this.#closeClock?.received(
      series,
      candle.openTime,
      source === "rest-early" ? settleTime : undefined,
    );
    return "taken";
  }
}
