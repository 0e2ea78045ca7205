import { element, themeColor } from "./dom.js";
import { count, percent, utcDay } from "./format.js";

/**
 * What is stored, a cell for each series and UTC day, as `/api/v1/coverage` tells it.
 * @typedef {"complete" | "confirmed" | "outage" | "absent" | "gap" | "future"} DayState
 * @typedef {{
 *   day: string, state: DayState, expectedCount: number, storedCount: number, confirmedCount: number,
 *   absent: { reason: string, state: "open" | "confirmed", count: number }[],
 * }} Day
 * @typedef {{ symbol: string, timeframe: string, days: Day[] }} Row
 */

const DAY_MS = 86_400_000;
const ROW_HEIGHT = 18;
const LABEL_WIDTH = 116;
const HEAD_HEIGHT = 18;

/** @type {Readonly<Record<DayState, string>>} */
const SAID = {
  complete: "complete",
  confirmed: "complete and confirmed",
  outage: "complete, but for what the exchange never had",
  absent: "not listed, or no longer kept",
  gap: "candles are missing",
  future: "nothing is due yet",
};

/** @param {Row} row @param {Day} day @returns {string} */
function saidOf(row, day) {
  const figures = [
    `${count(day.storedCount)} of ${count(day.expectedCount)} stored`,
    `${percent(day.confirmedCount, day.storedCount)} confirmed`,
    ...day.absent.map(({ reason, state, count: missing }) => {
      const words = reason.replaceAll("-", " ");
      return `${count(missing)} missing: ${words}${state === "open" ? ", asked for again" : ""}`;
    }),
  ];
  return `${row.symbol} ${row.timeframe}, ${day.day}: ${SAID[day.state]} (${figures.join("; ")})`;
}

/** A picture on a canvas: thousands of cells as elements would make a phone crawl. Arrow keys move, Enter opens the day. */
export class HeatMap {
  /** @type {(row: Row, day: Day) => void} */
  onOpen = () => {};
  #canvas;
  #said;
  /** @type {readonly Row[]} */
  #rows = [];
  #firstDay = 0;
  #dayCount = 0;
  #cursor = { row: 0, column: 0 };

  /** @param {HTMLElement} place */
  constructor(place) {
    this.#canvas = element("canvas", {
      tabindex: "0",
      role: "application",
      "aria-roledescription": "coverage map",
      "aria-label":
        "Coverage of every series by day. Arrow keys move, Enter opens the day in the chart.",
    });
    this.#said = element("p", { class: "said", "aria-live": "polite" });
    place.append(this.#canvas, this.#said);
    this.#canvas.addEventListener("keydown", (event) => this.#onKey(event));
    this.#canvas.addEventListener("focus", () => this.#draw());
    this.#canvas.addEventListener("blur", () => this.#draw());
    this.#canvas.addEventListener("click", (event) => this.#point(event, true));
    this.#canvas.addEventListener("mousemove", (event) => this.#point(event, false));
    new ResizeObserver(() => this.#draw()).observe(place);
  }

  /** @param {readonly Row[]} rows @param {{ from: number, to: number }} range epoch ms, whole days */
  show(rows, { from, to }) {
    const wasEmpty = this.#rows.length === 0;
    this.#rows = rows;
    this.#firstDay = from;
    this.#dayCount = Math.round((to - from) / DAY_MS);
    this.#moveTo(this.#cursor.row, wasEmpty ? this.#dayCount - 1 : this.#cursor.column);
  }

  redraw() {
    this.#draw();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const { row, column } = this.#cursor;
    const step = event.shiftKey ? 7 : 1;
    /** @type {Record<string, () => void>} */
    const moves = {
      ArrowLeft: () => this.#moveTo(row, column - step),
      ArrowRight: () => this.#moveTo(row, column + step),
      ArrowUp: () => this.#moveTo(row - 1, column),
      ArrowDown: () => this.#moveTo(row + 1, column),
      Home: () => this.#moveTo(row, 0),
      End: () => this.#moveTo(row, this.#dayCount - 1),
      Enter: () => this.#open(),
      " ": () => this.#open(),
    };
    const move = moves[event.key];
    if (move === undefined) return;
    event.preventDefault();
    move();
  }

  /** @param {MouseEvent} event @param {boolean} opens */
  #point(event, opens) {
    const row = Math.floor((event.offsetY - HEAD_HEIGHT) / ROW_HEIGHT);
    const column = Math.floor((event.offsetX - LABEL_WIDTH) / this.#cellWidth());
    if (row < 0 || column < 0 || row >= this.#rows.length || column >= this.#dayCount) return;
    this.#moveTo(row, column);
    if (opens) this.#open();
  }

  /** @param {number} row @param {number} column */
  #moveTo(row, column) {
    this.#cursor = {
      row: Math.max(0, Math.min(this.#rows.length - 1, row)),
      column: Math.max(0, Math.min(this.#dayCount - 1, column)),
    };
    const at = this.#under();
    const said = at === undefined ? "" : saidOf(at.row, at.day);
    // Screen readers say it anew each time that it is set.
    if (this.#said.textContent !== said) this.#said.textContent = said;
    this.#draw();
  }

  #open() {
    const at = this.#under();
    if (at !== undefined) this.onOpen(at.row, at.day);
  }

  #under() {
    const row = this.#rows[this.#cursor.row];
    const name = utcDay(this.#firstDay + this.#cursor.column * DAY_MS);
    const day = row?.days.find(({ day }) => day === name);
    return row === undefined || day === undefined ? undefined : { row, day };
  }

  #cellWidth() {
    const width = this.#canvas.clientWidth - LABEL_WIDTH;
    return Math.max(2, width / Math.max(1, this.#dayCount));
  }

  #draw() {
    const scale = devicePixelRatio;
    const height = HEAD_HEIGHT + Math.max(1, this.#rows.length) * ROW_HEIGHT;
    this.#canvas.style.height = `${height}px`;
    this.#canvas.width = this.#canvas.clientWidth * scale;
    this.#canvas.height = height * scale;
    const context = this.#canvas.getContext("2d");
    if (context === null) return;
    context.scale(scale, scale);
    context.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    context.textBaseline = "middle";
    this.#drawDays(context);
    const colors = dayColors();
    for (const [index, row] of this.#rows.entries()) this.#drawRow(context, index, row, colors);
    if (document.activeElement === this.#canvas) this.#drawCursor(context);
  }

  /** @param {CanvasRenderingContext2D} context */
  #drawDays(context) {
    context.fillStyle = themeColor("--dim");
    const width = this.#cellWidth();
    const each = Math.max(1, Math.ceil(76 / width));
    for (let column = 0; column < this.#dayCount; column += each) {
      const x = LABEL_WIDTH + column * width;
      if (x + 64 > this.#canvas.clientWidth) break;
      context.fillText(utcDay(this.#firstDay + column * DAY_MS), x, HEAD_HEIGHT / 2);
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {number} index @param {Row} row @param {Record<DayState, string>} colors */
  #drawRow(context, index, row, colors) {
    const y = HEAD_HEIGHT + index * ROW_HEIGHT;
    context.fillStyle = themeColor("--text");
    context.fillText(`${row.symbol} ${row.timeframe}`, 0, y + ROW_HEIGHT / 2, LABEL_WIDTH - 8);
    const width = this.#cellWidth();
    const space = width > 5 ? 1 : 0;
    for (const day of row.days) {
      const x = LABEL_WIDTH + ((Date.parse(day.day) - this.#firstDay) / DAY_MS) * width;
      context.fillStyle = colors[day.state];
      context.fillRect(x, y + 1, width - space, ROW_HEIGHT - 2);
      if (day.state === "gap") drawCross(context, x, y + 1, width - space, ROW_HEIGHT - 2);
    }
  }

  /** @param {CanvasRenderingContext2D} context */
  #drawCursor(context) {
    const { row, column } = this.#cursor;
    context.strokeStyle = themeColor("--focus");
    context.lineWidth = 2;
    const width = this.#cellWidth();
    context.strokeRect(
      LABEL_WIDTH + column * width - 1,
      HEAD_HEIGHT + row * ROW_HEIGHT,
      Math.max(4, width + 1),
      ROW_HEIGHT,
    );
  }
}

/** @returns {Record<DayState, string>} read once a picture: a style is computed each time */
function dayColors() {
  return {
    complete: themeColor("--day-stored"),
    confirmed: themeColor("--day-confirmed"),
    outage: themeColor("--day-outage"),
    absent: themeColor("--day-empty"),
    gap: themeColor("--day-open"),
    future: themeColor("--day-empty"),
  };
}

/** A colour alone would tell some people nothing. @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} width @param {number} height */
function drawCross(context, x, y, width, height) {
  if (width < 5) return;
  context.strokeStyle = themeColor("--day-open-mark");
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(x + 1, y + 1);
  context.lineTo(x + width - 1, y + height - 1);
  context.moveTo(x + width - 1, y + 1);
  context.lineTo(x + 1, y + height - 1);
  context.stroke();
}
