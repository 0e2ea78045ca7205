import { CandleStore, nextOpenTime } from "./candle-store.js";
import { themeColor } from "./dom.js";
import { fractionDigits } from "./format.js";
import { GapBands } from "./gap-bands.js";
import {
  CandlestickSeries,
  CrosshairMode,
  createChart,
  createSeriesMarkers,
  HistogramSeries,
} from "./lightweight-charts.js";

/**
 * @typedef {import("./candle-store.js").Candle} Candle
 * @typedef {{ symbol: string, timeframe: string }} Series
 * @typedef {{ from: number, to: number, state: "open" | "confirmed" }} Gap open times, half-open
 * @typedef {{
 *   candles: (series: Series, query: { from?: number, to?: number, limit: number }) => Promise<Candle[]>,
 *   gaps: (series: Series) => Promise<Gap[]>,
 *   revisions: (series: Series, range: { from: number, to: number }) => Promise<number[]>,
 * }} Source
 */

const PAGE = 1_000;
/** Candles of a stretch that are read at once; the program sends no more. */
const MAX_STRETCH = 10_000;
/** Places that a gap takes in the chart; a longer one is drawn shorter than it is. */
const MAX_GAP_PLACES = 500;
const DRAW_MS = 200;
/** Candles that are missing at the left or right before more is fetched. */
const FETCH_AHEAD = 100;

/** Candles with volume, live, with history as far back as one scrolls. */
export class CandleChart {
  /** @type {(candle: Candle | undefined, isForming: boolean) => void} */
  onCandle = () => {};
  /** @type {(reason: string) => void} */
  onProblem = () => {};
  #source;
  #chart;
  #prices;
  #volumes;
  #markers;
  #bands = new GapBands();
  /** @type {Series | undefined} */
  #series;
  #store = new CandleStore();
  /** @type {readonly Gap[]} */
  #gaps = [];
  /** @type {Candle | undefined} */
  #forming;
  /** @type {readonly number[]} */
  #revised = [];
  #isFetching = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #drawing;
  /** Nothing older, or nothing newer, is stored. */
  #isAtStart = false;
  #isAtEnd = true;
  /** Open time of the newest candle that an answer gave, where the picture ends at the present. @type {number | undefined} */
  #readTo;

  /** @param {HTMLElement} place @param {Source} source */
  constructor(place, source) {
    this.#source = source;
    this.#chart = createChart(place, {
      autoSize: true,
      // Its mark would bring a <style> of its own, which the page's policy forbids; the foot of the page names it.
      layout: { attributionLogo: false, panes: { enableResize: false } },
      crosshair: { mode: CrosshairMode.Normal },
      timeScale: { timeVisible: true, secondsVisible: false, rightOffset: 4 },
    });
    this.#prices = this.#chart.addSeries(CandlestickSeries);
    this.#volumes = this.#chart.addSeries(HistogramSeries, {
      priceScaleId: "volume",
      priceFormat: { type: "volume" },
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.#chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.#prices.attachPrimitive(this.#bands);
    this.#markers = createSeriesMarkers(this.#prices, []);
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange((range) => this.#onScroll(range));
    this.#chart.subscribeCrosshairMove(({ time }) => this.#point(time));
    place.tabIndex = 0;
    place.addEventListener("keydown", (event) => this.#onKey(event));
    this.applyTheme();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const scale = this.#chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (range === null) return;
    const width = range.to - range.from;
    /** @param {number} from @param {number} size */
    const show = (from, size) => scale.setVisibleLogicalRange({ from, to: from + size });
    const zoom = (/** @type {number} */ size) => show(range.to - size, size);
    /** @type {Record<string, () => void>} */
    const moves = {
      ArrowLeft: () => show(range.from - width / 8, width),
      ArrowRight: () => show(range.from + width / 8, width),
      PageUp: () => show(range.from - width, width),
      PageDown: () => show(range.from + width, width),
      Home: () => show(0, width),
      End: () => scale.scrollToRealTime(),
      "+": () => zoom(Math.max(10, width * 0.8)),
      "-": () => zoom(width * 1.25),
    };
    const move = moves[event.key];
    if (move === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    move();
  }

  applyTheme() {
    const grid = { color: themeColor("--grid") };
    this.#chart.applyOptions({
      layout: { background: { color: themeColor("--surface") }, textColor: themeColor("--text") },
      grid: { vertLines: grid, horzLines: grid },
      rightPriceScale: { borderColor: themeColor("--line") },
      timeScale: { borderColor: themeColor("--line") },
    });
    const [up, down] = [themeColor("--up"), themeColor("--down")];
    this.#prices.applyOptions({
      ...{ upColor: up, borderUpColor: up, wickUpColor: up },
      ...{ downColor: down, borderDownColor: down, wickDownColor: down },
    });
    this.#draw();
  }

  get series() {
    return this.#series;
  }

  /** @returns {Candle[]} the newest that are shown, ascending; the forming one is not among them */
  newest() {
    return this.#store.list(50);
  }

  /**
   * Shows a series: its newest candles, or those of a stretch.
   * @param {Series} series @param {{ from: number, to: number }} [range] open times, half-open
   */
  async open(series, range) {
    const store = new CandleStore();
    this.#series = series;
    this.#store = store;
    this.#readTo = undefined;
    this.#gaps = [];
    this.#revised = [];
    this.#forming = undefined;
    this.#isAtStart = false;
    this.#isAtEnd = range === undefined;
    this.#draw();
    const [candles, gaps] = await Promise.all([
      this.#source.candles(
        series,
        range === undefined ? { limit: PAGE } : { from: range.from, limit: PAGE },
      ),
      this.#source.gaps(series),
    ]);
    // Another one was opened meanwhile, or the same one anew.
    if (this.#store !== store) return;
    this.#gaps = gaps;
    if (range === undefined) this.#readTo = candles.at(-1)?.openTime;
    this.#take(candles);
    this.#chart.priceScale("right").applyOptions({ autoScale: true });
    if (range === undefined) this.#chart.timeScale().scrollToRealTime();
    else this.#showRange(range);
  }

  /**
   * Reads what was stored between the last answer and the beginning of a stream, where the picture ends at the present.
   * What the stream has told since says nothing of that.
   */
  async catchUp() {
    const series = this.#series;
    if (series === undefined || !this.#isAtEnd) return;
    const from = this.#readTo;
    if (from === undefined) return this.open(series);
    const store = this.#store;
    const candles = await this.#source.candles(series, { from, limit: MAX_STRETCH });
    if (this.#store !== store) return;
    if (candles.length === MAX_STRETCH) return this.open(series);
    this.#readTo = candles.at(-1)?.openTime ?? from;
    this.#add(candles);
  }

  /** Looks again for what is missing. */
  async refreshGaps() {
    const series = this.#series;
    if (series === undefined) return;
    const gaps = await this.#source.gaps(series);
    if (this.#series !== series) return;
    this.#gaps = gaps;
    this.#draw();
  }

  /** A candle was stored, or took the place of another. @param {Series} series @param {Candle} candle @param {boolean} isRevision */
  stored(series, candle, isRevision) {
    if (!this.#isShown(series)) return;
    const { oldest, newest } = this.#store;
    // What is older is fetched when one scrolls there; a picture that is not full yet takes it at once.
    const isOlder = oldest !== undefined && candle.openTime < oldest && this.#store.size >= PAGE;
    const isBeyond = newest !== undefined && candle.openTime > newest && !this.#isAtEnd;
    if (isOlder || isBeyond) return;
    const isNext =
      newest !== undefined && nextOpenTime(series.timeframe, newest) === candle.openTime;
    this.#store.add([candle]);
    if (this.#forming !== undefined && this.#forming.openTime <= candle.openTime) {
      this.#forming = undefined;
    }
    if (isRevision)
      this.#revised = [...new Set([...this.#revised, candle.openTime])].sort((a, b) => a - b);
    if (isNext && !isRevision) this.#update(candle);
    else this.#drawSoon();
  }

  /** Many at once are one picture. */
  #drawSoon() {
    if (this.#drawing !== undefined) return;
    this.#drawing = setTimeout(() => {
      this.#drawing = undefined;
      this.#draw();
    }, DRAW_MS);
  }

  /** @param {Series} series @param {Candle} candle that forms now */
  forming(series, candle) {
    if (!this.#isShown(series) || !this.#isAtEnd) return;
    const { newest } = this.#store;
    if (newest !== undefined && candle.openTime <= newest) return;
    if (newest !== undefined && nextOpenTime(series.timeframe, newest) < candle.openTime) {
      // The one before it is not stored yet: it is on its way, and its place is not the forming one's.
      if (this.#forming === undefined || this.#forming.openTime < candle.openTime) this.#draw();
    }
    this.#forming = candle;
    this.#update(candle);
  }

  /**
   * Many candles were stored: those that belong into the picture are read, and it stays where it is.
   * @param {Series} series @param {{ from: number, to: number }} range open times, half-open
   */
  async stretch(series, { from, to }) {
    const shown = this.#series;
    if (shown === undefined || !this.#isShown(series)) return;
    const { oldest, newest } = this.#store;
    if (oldest === undefined || newest === undefined) return this.open(shown);
    if (from < oldest) {
      this.#isAtStart = false;
      if (this.#store.size < PAGE && !this.#isFetching) await this.#older(oldest);
    }
    const wanted = {
      from: Math.max(from, oldest),
      to: this.#isAtEnd ? to : Math.min(to, newest + 1),
    };
    if (this.#series !== shown || wanted.from >= wanted.to) return;
    const store = this.#store;
    const candles = await this.#source.candles(shown, { ...wanted, limit: MAX_STRETCH });
    if (this.#store !== store) return;
    this.#add(candles);
    await this.refreshGaps();
  }

  /** Candles that lie in the picture, which stays where it is. @param {readonly Candle[]} candles */
  #add(candles) {
    if (candles.length === 0) return;
    this.#store.add(candles);
    const end = this.#store.newest;
    if (this.#forming !== undefined && end !== undefined && this.#forming.openTime <= end) {
      this.#forming = undefined;
    }
    this.#drawSoon();
  }

  /** @param {Series} series */
  #isShown(series) {
    return series.symbol === this.#series?.symbol && series.timeframe === this.#series.timeframe;
  }

  /** @param {readonly Candle[]} candles */
  #take(candles) {
    this.#store.add(candles);
    const digits = candles.slice(-200).map(({ close }) => fractionDigits(close));
    const precision = Math.max(2, ...digits);
    this.#prices.applyOptions({
      priceFormat: { type: "price", precision, minMove: 10 ** -precision },
    });
    this.#chart.timeScale().applyOptions({ secondsVisible: this.#series?.timeframe === "1s" });
    this.#draw();
    void this.#loadRevisions();
  }

  async #loadRevisions() {
    const { oldest, newest } = this.#store;
    const series = this.#series;
    if (series === undefined || oldest === undefined || newest === undefined) return;
    try {
      const revised = await this.#source.revisions(series, { from: oldest, to: newest + 1 });
      if (this.#series !== series) return;
      this.#revised = revised;
      this.#drawMarkers();
    } catch (error) {
      this.#failed(error);
    }
  }

  /** @param {import("lightweight-charts").LogicalRange | null} range */
  #onScroll(range) {
    const { oldest, newest } = this.#store;
    if (range === null || this.#isFetching || oldest === undefined || newest === undefined) return;
    const size = this.#prices.data().length;
    if (range.from < FETCH_AHEAD && !this.#isAtStart) void this.#older(oldest);
    else if (range.to > size - FETCH_AHEAD && !this.#isAtEnd) void this.#newer(newest);
  }

  /** @param {number} before */
  async #older(before) {
    const candles = await this.#fetch({ to: before, limit: PAGE });
    if (candles === undefined) return;
    this.#isAtStart = candles.length === 0;
    if (candles.length > 0) this.#take(candles);
  }

  /** @param {number} after */
  async #newer(after) {
    const candles = await this.#fetch({ from: after + 1, limit: PAGE });
    if (candles === undefined) return;
    this.#isAtEnd = candles.length < PAGE;
    if (this.#isAtEnd) this.#readTo = candles.at(-1)?.openTime ?? after;
    if (candles.length > 0) this.#take(candles);
    // What the stream told while the answer was under way lay beyond the picture.
    if (this.#isAtEnd) await this.catchUp().catch((error) => this.#failed(error));
  }

  /** @param {{ from?: number, to?: number, limit: number }} query @returns {Promise<Candle[] | undefined>} */
  async #fetch(query) {
    const series = this.#series;
    if (series === undefined) return undefined;
    const store = this.#store;
    this.#isFetching = true;
    try {
      const candles = await this.#source.candles(series, query);
      return this.#store === store ? candles : undefined;
    } catch (error) {
      this.#failed(error);
      return undefined;
    } finally {
      this.#isFetching = false;
    }
  }

  /** @param {unknown} error */
  #failed(error) {
    this.onProblem(error instanceof Error ? error.message : String(error));
  }

  /** @param {{ from: number, to: number }} range */
  #showRange({ from, to }) {
    const newest = this.#store.newest;
    if (newest === undefined) return;
    this.#chart.timeScale().setVisibleRange({
      from: seconds(from),
      to: seconds(Math.max(from + 1_000, Math.min(to, newest))),
    });
  }

  #draw() {
    const timeframe = this.#series?.timeframe;
    if (timeframe === undefined) return;
    const candles = this.#store.list();
    if (this.#forming !== undefined && this.#forming.openTime > (this.#store.newest ?? -Infinity)) {
      candles.push(this.#forming);
    }
    const places = withGaps(timeframe, candles);
    this.#prices.setData(
      places.map(({ time, candle }) => (candle === undefined ? { time } : priceOf(candle))),
    );
    this.#volumes.setData(
      places.map(({ time, candle }) => (candle === undefined ? { time } : volumeOf(candle))),
    );
    this.#drawBands();
    this.#drawMarkers();
    this.onCandle(candles.at(-1), this.#forming !== undefined && candles.at(-1) === this.#forming);
  }

  /** @param {Candle} candle the newest */
  #update(candle) {
    this.#prices.update(priceOf(candle));
    this.#volumes.update(volumeOf(candle));
    this.onCandle(candle, candle === this.#forming);
  }

  #drawBands() {
    const { oldest } = this.#store;
    const newest = this.#forming?.openTime ?? this.#store.newest;
    if (oldest === undefined || newest === undefined) return this.#bands.show([]);
    this.#bands.show(
      this.#gaps
        .filter(({ from, to }) => to > oldest && from < newest)
        .map(({ from, to, state }) => ({
          from: Math.max(from, oldest) / 1_000,
          to: Math.min(to, newest) / 1_000,
          isConfirmed: state === "confirmed",
        })),
    );
  }

  #drawMarkers() {
    const color = themeColor("--revised");
    this.#markers.setMarkers(
      this.#revised
        .filter((openTime) => this.#store.at(openTime) !== undefined)
        .map((openTime) => ({
          time: seconds(openTime),
          position: "aboveBar",
          shape: "circle",
          size: 0.6,
          color,
          text: "revised",
        })),
    );
  }

  /** @param {import("lightweight-charts").Time | undefined} time */
  #point(time) {
    const openTime = typeof time === "number" ? time * 1_000 : undefined;
    const candle = openTime === undefined ? undefined : this.#store.at(openTime);
    if (openTime !== undefined && openTime === this.#forming?.openTime)
      this.onCandle(this.#forming, true);
    else if (candle !== undefined) this.onCandle(candle, false);
    else if (openTime === undefined)
      this.onCandle(this.#forming ?? this.newest().at(-1), this.#forming !== undefined);
  }
}

/**
 * Puts empty places where candles are missing, so that time runs evenly.
 * @param {string} timeframe @param {readonly Candle[]} candles ascending
 * @returns {{ time: import("lightweight-charts").UTCTimestamp, candle?: Candle }[]} strictly ascending
 */
function withGaps(timeframe, candles) {
  /** @type {{ time: import("lightweight-charts").UTCTimestamp, candle?: Candle }[]} */
  const places = [];
  for (const [index, candle] of candles.entries()) {
    const previous = candles[index - 1];
    if (previous !== undefined) {
      let missing = nextOpenTime(timeframe, previous.openTime);
      for (let count = 0; missing < candle.openTime && count < MAX_GAP_PLACES; count += 1) {
        places.push({ time: seconds(missing) });
        missing = nextOpenTime(timeframe, missing);
      }
    }
    const time = seconds(candle.openTime);
    // Candles off the grid may share a second with an empty place.
    while ((places.at(-1)?.time ?? -Infinity) >= time) places.pop();
    places.push({ time, candle });
  }
  return places;
}

/** @param {number} ms @returns {import("lightweight-charts").UTCTimestamp} */
function seconds(ms) {
  return /** @type {import("lightweight-charts").UTCTimestamp} */ (Math.floor(ms / 1_000));
}

/** @param {Candle} candle A picture has pixels, not digits: here, and only here, decimals become floats. */
function priceOf({ openTime, open, high, low, close }) {
  return {
    time: seconds(openTime),
    ...{ open: Number(open), high: Number(high), low: Number(low), close: Number(close) },
  };
}

/** @param {Candle} candle */
function volumeOf({ openTime, open, close, volume }) {
  const color = themeColor(Number(close) >= Number(open) ? "--up-volume" : "--down-volume");
  return { time: seconds(openTime), value: Number(volume), color };
}
