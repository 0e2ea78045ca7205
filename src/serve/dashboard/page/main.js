import { CandleChart } from "./chart.js";
import { Connection } from "./connection.js";
import { byId, element, forgetColors } from "./dom.js";
import { EventList } from "./event-list.js";
import { count, utc } from "./format.js";
import { HeatMap } from "./heat-map.js";
import { TILE_METRICS } from "./metrics.js";
import { SeriesTable } from "./series-table.js";
import { Tiles } from "./tiles.js";

/**
 * @typedef {import("./candle-store.js").Candle} Candle
 * @typedef {import("./connection.js").LinkState} LinkState
 * @typedef {import("./series-table.js").SeriesState} SeriesState
 * @typedef {{ symbol: string, timeframe: string }} Series
 */

const DAY_MS = 86_400_000;
/** Series in the table, and in the map of coverage; the program picks those that need a look. */
const MAX_ROWS = 100;
const STATUS_MS = 2_000;
const METRICS_MS = 5_000;
const LOG_MS = 2_000;
const COVERAGE_MS = 60_000;
const THEME_KEY = "black-trade theme";

/** What is shown; files of other exchanges can be stored beside it, also of the same symbol and timeframe. */
const exchange = "binance";
const connection = new Connection();
const tiles = new Tiles(byId("tiles", HTMLElement));
const table = new SeriesTable(byId("series", HTMLElement));
const events = new EventList(byId("events", HTMLElement));
const heatMap = new HeatMap(byId("coverage", HTMLElement));
const chart = new CandleChart(byId("chart", HTMLElement), {
  candles: async ({ symbol, timeframe }, query) =>
    (await connection.get("/api/v1/candles", { ...{ exchange, symbol, timeframe }, ...query }))
      .candles,
  gaps: async ({ symbol, timeframe }) =>
    (
      await connection.get("/api/v1/gaps", { exchange, symbols: symbol, timeframes: timeframe })
    ).gaps.map(
      (
        /** @type {{ range: { from: number, to: number }, state: "open" | "confirmed" }} */ gap,
      ) => ({
        ...gap.range,
        state: gap.state,
      }),
    ),
  revisions: async ({ symbol, timeframe }, range) =>
    (
      await connection.get("/api/v1/revisions", { ...{ exchange, symbol, timeframe }, ...range })
    ).revisions.map((/** @type {{ replaced: Candle }} */ { replaced }) => replaced.openTime),
});

/** @type {readonly Series[]} every configured series, by name */
let known = [];
/** How many series are configured; not known at first. @type {number | undefined} */
let seriesCount;
/** @type {readonly SeriesState[]} */
let rows = [];
/** What is looked for among the series. */
let wanted = "";
/** Shows what went wrong in its place, or takes it away. @param {string} id @param {Promise<unknown>} work @returns {Promise<boolean>} whether it went well */
async function told(id, work) {
  const place = byId(id, HTMLElement);
  try {
    await work;
    place.hidden = true;
    return true;
  } catch (error) {
    place.textContent = error instanceof Error ? error.message : String(error);
    place.hidden = false;
    return false;
  }
}

/** Does something again and again, but not while the last time is not over. @param {number} ms @param {() => Promise<unknown>} work */
function repeat(ms, work) {
  let isBusy = false;
  setInterval(async () => {
    if (isBusy) return;
    isBusy = true;
    await work().catch(() => undefined);
    isBusy = false;
  }, ms);
}

// --- the connection ---

connection.onState = (state) => {
  const place = byId("link", HTMLElement);
  place.dataset.state = state.kind;
  document.body.dataset.link = state.kind;
  sayLink(place, state);
  const lock = byId("lock", HTMLDialogElement);
  byId("lock-problem", HTMLElement).hidden = state.kind !== "locked" || !state.isTokenWrong;
  if (state.kind === "locked" && !lock.open) lock.showModal();
  if (state.kind === "live") void refresh();
};

/** @param {HTMLElement} place @param {LinkState} state */
function sayLink(place, state) {
  if (state.kind === "live") place.textContent = "live";
  else if (state.kind === "connecting") place.textContent = "connecting …";
  else if (state.kind === "locked") place.textContent = "locked: the token is needed";
  else {
    const shown = known.length === 0 ? "it is tried again" : "what is shown is of then";
    place.textContent = `disconnected since ${utc(state.since)} UTC: ${state.reason}; ${shown}`;
  }
}

byId("lock", HTMLDialogElement).addEventListener("close", () => {
  const input = byId("token", HTMLInputElement);
  connection.unlock(input.value);
  input.value = "";
});

// --- state ---

/** Everything anew: at the start, and after the connection was lost. */
async function refresh() {
  await told("series-problem", loadStatus());
  const series = chart.series;
  if (series !== undefined) {
    opening = told("chart-problem", chart.open(series));
    await opening;
  }
  await told("coverage-problem", loadCoverage());
  lastLine = 0;
  events.clear();
  await loadLog().catch(() => undefined);
}

async function loadStatus() {
  const find = wanted;
  try {
    const [summary, status] = await Promise.all([
      connection.get("/api/v1/status/summary"),
      connection.get("/api/v1/status", { find, order: "urgency", limit: MAX_ROWS }),
    ]);
    seriesCount = summary.seriesCount;
    void loadNames(`${status.run?.startedTime} ${seriesCount}`);
    // Something else is looked for meanwhile, and asked for.
    if (find === wanted) showStatus(summary, status);
  } catch (error) {
    // What was true before is not known to be true now.
    table.show(rows.map(({ symbol, timeframe }) => unknownState(symbol, timeframe)));
    for (const name of ["Active series", "Open gaps"]) tiles.set(name, "unknown");
    throw error;
  }
}

/** @param {string} symbol @param {string} timeframe @returns {SeriesState} */
function unknownState(symbol, timeframe) {
  return { symbol, timeframe, status: "unknown", reason: "", openGapCount: 0 };
}

/** Which names are known, or being asked for. */
let namedRun = "";

/** @param {string} run that configured them */
async function loadNames(run) {
  if (run === namedRun) return;
  namedRun = run;
  try {
    const { series } = await connection.get("/api/v1/series");
    const ours = series.filter(
      (/** @type {{ exchange: string, isConfigured: boolean }} */ one) =>
        one.isConfigured && isShown(one),
    );
    // Not known which are configured, at this moment.
    if (ours.length === 0 && seriesCount !== 0) throw new Error("no series is known");
    known = ours;
    fillSelects();
    if (chart.series === undefined) openFromAddress();
  } catch {
    // With the next look at the states.
    if (namedRun === run) namedRun = "";
  }
}

/** What the map of coverage was made of. */
let counted = "";

/**
 * @param {{ seriesCount: number, counts: Record<string, number>, openGapCount: number }} summary
 * @param {{
 *   run: { host: string, pid: number, mode: string, startedTime: number } | null, foundCount: number,
 *   series: (Omit<SeriesState, "symbol" | "timeframe"> & { series: Series })[],
 * }} status
 */
function showStatus({ counts, openGapCount, ...summary }, { run, foundCount, series }) {
  rows = series.map(({ series: { symbol, timeframe }, ...state }) => ({
    ...state,
    symbol,
    timeframe,
  }));
  table.show(rows);
  const more = byId("series-more", HTMLElement);
  more.hidden = rows.length === foundCount;
  more.textContent = `${count(rows.length)} of ${count(foundCount)} series; those that need a look come first. Find shows others.`;
  const active = (counts.active ?? 0) + (counts.halted ?? 0);
  tiles.set("Active series", `${count(active)} of ${count(summary.seriesCount)}`);
  tiles.set("Open gaps", count(openGapCount));
  byId("run", HTMLElement).textContent =
    run === null
      ? "no ingester has run yet"
      : `${run.mode}, pid ${run.pid} on ${run.host}, since ${utc(run.startedTime)} UTC`;
  const isNew = counted !== "" && counted !== JSON.stringify([counts, openGapCount]);
  counted = JSON.stringify([counts, openGapCount]);
  if (!isNew) return;
  loadCoverageSoon();
  void chart.refreshGaps().catch(() => undefined);
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let coverageTimer;

/** What is stored has changed; the map is counted again, and not too often. */
function loadCoverageSoon() {
  if (coverageTimer !== undefined) return;
  coverageTimer = setTimeout(() => {
    coverageTimer = undefined;
    void told("coverage-problem", loadCoverage());
  }, 5_000);
}

/** @param {{ exchange: string }} series */
function isShown(series) {
  return series.exchange === exchange;
}

async function loadCoverage() {
  // Of all where they have room; else of those in the table.
  if (seriesCount === undefined) return;
  const isPart = seriesCount > MAX_ROWS;
  if (isPart && rows.length === 0) return heatMap.show([], { from: 0, to: DAY_MS });
  const days = Number(byId("days", HTMLSelectElement).value);
  const to = Math.floor(Date.now() / DAY_MS) * DAY_MS + DAY_MS;
  const from = to - days * DAY_MS;
  const ours = rows.map(({ symbol, timeframe }) => `${exchange}:${symbol}:${timeframe}`);
  const { series } = await connection.get("/api/v1/coverage", {
    ...{ from, to: to - 1 },
    series: isPart ? ours.join(",") : undefined,
  });
  heatMap.show(
    series
      .filter((/** @type {{ series: { exchange: string } }} */ row) => isShown(row.series))
      .map((/** @type {{ series: Series, days: import("./heat-map.js").Day[] }} */ row) => ({
        ...row.series,
        days: row.days,
      })),
    { from, to },
  );
}

/** Id of the newest line of the log that is shown. */
let lastLine = 0;

async function loadLog() {
  const { lines } = await connection.get("/api/v1/log", { after: lastLine });
  // Another process counts from one again.
  if (lines.length === 0 && lastLine > 0) return;
  for (const { id, time, text } of lines) {
    events.add(time, text);
    lastLine = id;
  }
}

/** Whether the program behind the page ingests; where it only serves, its figures say nothing of the ingester. */
let isIngesting = false;

/** @param {boolean} is */
function showRole(is) {
  isIngesting = is;
  tiles.set("This program", is ? "ingests" : "only serves");
  if (is) void loadMetrics();
  else tiles.forgetMetrics();
}

const METRICS_PATH = `/metrics?${new URLSearchParams(TILE_METRICS.map((name) => ["name[]", name]))}`;

async function loadMetrics() {
  if (!isIngesting) return;
  try {
    tiles.addMetrics(await connection.text(METRICS_PATH), performance.now());
  } catch {
    tiles.forgetMetrics();
  }
}

// --- what one chooses ---

/** @type {Promise<unknown>} */
let opening = Promise.resolve();

/** What was stored after the picture was read and before the stream began, until it is there. */
async function catchUp() {
  const series = chart.series;
  await opening;
  while (chart.series === series && !(await told("chart-problem", chart.catchUp()))) {
    await new Promise((resolve) => setTimeout(resolve, STATUS_MS));
  }
}

/** @param {Series} series @param {{ from: number, to: number }} [range] */
function open(series, range) {
  const { symbol, timeframe } = series;
  location.replace(`#${encodeURIComponent(symbol)}/${timeframe}`);
  document.title = `${symbol} ${timeframe} · black-trade`;
  byId("chart-title", HTMLElement).textContent = `${symbol} ${timeframe}`;
  fillSelects();
  byId("symbol", HTMLSelectElement).value = symbol;
  byId("timeframe", HTMLSelectElement).value = timeframe;
  opening = told("chart-problem", chart.open({ symbol, timeframe }, range));
  fillSelects();
  connection.turnTo(
    `/api/v1/events?${new URLSearchParams({ series: `${exchange}:${symbol}:${timeframe}`, kinds: "closed,forming" })}`,
  );
}

function openFromAddress() {
  const [symbol = "", timeframe = ""] = location.hash.slice(1).split("/").map(decoded);
  const wanted = known.find((one) => one.symbol === symbol && one.timeframe === timeframe);
  const first = wanted ?? known[0];
  if (first !== undefined) open(first);
}

/** @param {string} text of an address, which may be cut anywhere */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function fillSelects() {
  const symbols = [...new Set(known.map(({ symbol }) => symbol))];
  const shown = chart.series;
  fill("symbol", symbols, shown?.symbol);
  const timeframes = known.filter(({ symbol }) => symbol === shown?.symbol);
  fill(
    "timeframe",
    timeframes.map(({ timeframe }) => timeframe),
    shown?.timeframe,
  );
}

/** @param {string} id @param {readonly string[]} values @param {string | undefined} chosen */
function fill(id, values, chosen) {
  const select = byId(id, HTMLSelectElement);
  const present = [...select.options].map(({ value }) => value);
  if (present.join("\n") !== values.join("\n")) {
    select.replaceChildren(...values.map((value) => element("option", { value }, value)));
  }
  if (chosen !== undefined && select.value !== chosen) select.value = chosen;
}

byId("symbol", HTMLSelectElement).addEventListener("change", (event) => {
  const symbol = /** @type {HTMLSelectElement} */ (event.target).value;
  const timeframes = known.filter((one) => one.symbol === symbol).map(({ timeframe }) => timeframe);
  const before = chart.series?.timeframe;
  const timeframe = before !== undefined && timeframes.includes(before) ? before : timeframes[0];
  if (timeframe !== undefined) open({ symbol, timeframe });
});
byId("timeframe", HTMLSelectElement).addEventListener("change", (event) => {
  const symbol = chart.series?.symbol;
  const timeframe = /** @type {HTMLSelectElement} */ (event.target).value;
  if (symbol !== undefined) open({ symbol, timeframe });
});
byId("newest", HTMLButtonElement).addEventListener("click", () => {
  if (chart.series !== undefined) open(chart.series);
});
byId("find", HTMLInputElement).addEventListener("input", (event) => {
  wanted = /** @type {HTMLInputElement} */ (event.target).value.trim();
  void told("series-problem", loadStatus());
  if ((seriesCount ?? 0) > MAX_ROWS) loadCoverageSoon();
});
byId("days", HTMLSelectElement).addEventListener("change", () => {
  void told("coverage-problem", loadCoverage());
});
byId("table", HTMLDetailsElement).addEventListener("toggle", drawRows);
table.onOpen = (series) => {
  open(series);
  byId("chart-title", HTMLElement).focus();
};
heatMap.onOpen = (row, day) => {
  const from = Date.parse(day.day);
  open(row, { from, to: from + DAY_MS });
  byId("chart-title", HTMLElement).focus();
};

const theme = byId("theme", HTMLSelectElement);
theme.value = localStorage.getItem(THEME_KEY) ?? "auto";
theme.addEventListener("change", applyTheme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);

function applyTheme() {
  localStorage.setItem(THEME_KEY, theme.value);
  if (theme.value === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
  forgetColors();
  chart.applyTheme();
  heatMap.redraw();
}

// --- the candle that is pointed at, and the table ---

chart.onProblem = (reason) => void told("chart-problem", Promise.reject(new Error(reason)));
chart.onCandle = (candle, isForming) => {
  byId("candle", HTMLElement).textContent = candle === undefined ? "" : saidOf(candle, isForming);
  drawRows();
};

/** @param {Candle} candle @param {boolean} isForming */
function saidOf({ openTime, open, high, low, close, volume, source }, isForming) {
  const state = isForming ? "forming" : (source ?? "");
  return `${utc(openTime)} · O ${open} H ${high} L ${low} C ${close} · volume ${volume} · ${state}`;
}

function drawRows() {
  if (!byId("table", HTMLDetailsElement).open) return;
  const rows = chart.newest().reverse();
  byId("rows", HTMLElement).replaceChildren(
    ...rows.map(({ openTime, open, high, low, close, volume }) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, utc(openTime)),
        ...[open, high, low, close, volume].map((text) => element("td", {}, text)),
      ),
    ),
  );
}

// --- go ---

/** @param {import("./connection.js").ServerEvent} event */
function onEvent({ event, data }) {
  if (event === "ready") {
    showRole(data.isIngesting);
    void catchUp();
  } else if (event === "closed") {
    chart.stored(data.series, data.candle, data.outcome === "revised");
    if (data.outcome === "revised") {
      const { symbol, timeframe } = data.series;
      events.add(
        Date.now(),
        `${symbol} ${timeframe}: the candle of ${utc(data.candle.openTime)} was revised`,
      );
    }
  } else if (event === "stretch") {
    loadCoverageSoon();
    void told("chart-problem", chart.stretch(data.series, data.range));
  } else if (event === "forming") chart.forming(data.series, data.candle);
  else if (event === "dropped") {
    events.add(Date.now(), "This page was too slow and missed candles; they are read again.");
    void refresh();
  }
}

applyTheme();
// Nothing but that it lives, until a series is shown.
void connection.follow("/api/v1/events?kinds=status&series=none:1m", onEvent);
repeat(STATUS_MS, () => told("series-problem", loadStatus()));
repeat(METRICS_MS, loadMetrics);
repeat(METRICS_MS, () => chart.refreshGaps());
repeat(LOG_MS, loadLog);
repeat(COVERAGE_MS, () => told("coverage-problem", loadCoverage()));
