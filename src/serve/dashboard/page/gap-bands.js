import { themeColor } from "./dom.js";

/**
 * Shaded bands over the stretches in which candles are missing.
 * @typedef {{ from: number, to: number, isConfirmed: boolean }} Band seconds of the first missing and of the next present candle
 * @typedef {import("lightweight-charts").SeriesAttachedParameter<import("lightweight-charts").Time>} Attached
 * @typedef {Parameters<import("lightweight-charts").IPrimitivePaneRenderer["draw"]>[0]} Target
 */

export class GapBands {
  /** @type {Attached | undefined} */
  #attached;
  /** @type {readonly Band[]} */
  #bands = [];
  #views = [{ zOrder: () => /** @type {const} */ ("bottom"), renderer: () => this }];

  /** @param {Attached} attached */
  attached(attached) {
    this.#attached = attached;
  }

  detached() {
    this.#attached = undefined;
  }

  paneViews() {
    return this.#views;
  }

  /** @param {readonly Band[]} bands */
  show(bands) {
    this.#bands = bands;
    this.#attached?.requestUpdate();
  }

  /** @param {Target} target */
  draw(target) {
    const scale = this.#attached?.chart.timeScale();
    if (scale === undefined) return;
    target.useBitmapCoordinateSpace(({ context, bitmapSize, horizontalPixelRatio }) => {
      for (const { from, to, isConfirmed } of this.#bands) {
        const left = this.#x(scale, from);
        const right = this.#x(scale, to);
        if (left === undefined || right === undefined) continue;
        context.fillStyle = themeColor(isConfirmed ? "--outage-band" : "--gap-band");
        const width = Math.max(2, (right - left) * horizontalPixelRatio);
        context.fillRect(left * horizontalPixelRatio, 0, width, bitmapSize.height);
      }
    });
  }

  /** @param {import("lightweight-charts").ITimeScaleApi<import("lightweight-charts").Time>} scale @param {number} seconds */
  #x(scale, seconds) {
    const time = /** @type {import("lightweight-charts").UTCTimestamp} */ (seconds);
    const index = scale.timeToIndex(time, true);
    return index === null
      ? undefined
      : (scale.logicalToCoordinate(/** @type {any} */ (index)) ?? undefined);
  }
}
