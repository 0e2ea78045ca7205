import { existsSync, readFileSync, rmSync } from "node:fs";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { Command } from "commander";
import { type RunningIngest, runIngest } from "../app.ts";
import { systemClock } from "../clock.ts";
import { type Config, loadConfig } from "../config.ts";
import type { Candle } from "../core/candle.ts";
import { BlackTradeError } from "../core/errors.ts";
import type { VersionedCandle } from "../core/finality.ts";
import { type Series, seriesKey, seriesLabel } from "../core/series.ts";
import { CONCERN_OF } from "../core/status.ts";
import { closeTimeOf } from "../core/timeframe.ts";
import { createStatusReader, type SeriesView, type StatusView } from "../serve/status-reader.ts";
import { DEFAULT_SYMBOLS, SeededMarket, startSimulator } from "../simulator/index.ts";
import type { Store } from "../store/index.ts";
import { type ExitStatus, stopSignal } from "./command.ts";
import {
  type Cell,
  displayWidth,
  duration,
  instant,
  latency,
  moment,
  type Output,
  paint,
  Screen,
  tableLines,
} from "./output.ts";
import { grouped } from "./progress.ts";

interface DemoOptions {
  readonly symbols: string;
  readonly timeframes: string;
  readonly for?: string;
  readonly httpPort: string;
  readonly json?: boolean;
}

const REFRESH_MS = 1_000;
const SHOWN_LOG_LINES = 6;
/** Where nothing is drawn: how many new candles of a series one look may show. */
const SHOWN_CANDLES = 3;

/** `demo`: everything at work against the built-in exchange, leaving nothing behind. */
export function demoCommand(output: Output, end: (status: ExitStatus) => void): Command {
  return new Command("demo")
    .description(
      "all of it at work against the built-in exchange, in a database of its own; needs no network",
    )
    .option(
      "--symbols <list>",
      `of the simulated market: ${DEFAULT_SYMBOLS.map(({ symbol }) => symbol).join(" ")}`,
      "BTCUSDT,ETHUSDT,SOLUSDT",
    )
    .option("--timeframes <list>", "timeframes to collect", "1s,1m,5m,1h")
    .option("--http-port <port>", "port of /metrics, /livez and /readyz; 0 = any free one", "0")
    .option("--for <seconds>", "stop by itself after so long")
    .option("--json", "one JSON document a new candle")
    .addHelpText(
      "before",
      `Examples:
  npx black-trade demo
  npx black-trade demo --symbols BTCUSDT --timeframes 1s,1m
  npx black-trade demo --for 30 --json | jq -r '[.symbol, .timeframe, .close] | @tsv'

Its market, its database and its settings are its own: neither .env nor the environment has a part in it.
`,
    )
    .action(async (options: DemoOptions) => {
      const forMs = secondsOf(options.for);
      // Before anything is started: its mistakes are the user's.
      demoConfig(options, NOWHERE);
      const stop = stopSignal();
      const ended = new AbortController();
      const signal = AbortSignal.any([stop.signal, ended.signal]);
      // The server's own user has to reach it, also when this runs as root: the system's folder for such things.
      const dataDir = await mkdtemp(join(tmpdir(), "black-trade-demo-"));
      await chmod(dataDir, 0o755);
      const leaveNothing = (): void => removeAtOnce(dataDir);
      process.once("exit", leaveNothing);
      output.note("starting an exchange simulator and a PostgreSQL of its own …");
      const simulator = await startSimulator({ market: new SeededMarket(), clock: systemClock });
      let shown = Promise.resolve();
      try {
        const logLines: string[] = [];
        const isDrawn = output.isTerminal && !options.json;
        const summary = await runIngest(demoConfig(options, { dataDir, ...simulator }), {
          signal,
          isHttpEnabled: true,
          isLogPlain: true,
          writeLog: (line) => {
            if (!isDrawn) process.stderr.write(line);
            logLines.push(line.trimEnd());
            if (logLines.length > SHOWN_LOG_LINES) logLines.shift();
          },
          whileRunning: (running) => {
            if (forMs !== undefined) {
              systemClock.sleep(forMs, signal).then(
                () => ended.abort(),
                () => undefined,
              );
            }
            const look = { dataDir, isDrawn, isJson: options.json === true, logLines };
            shown = show(output, running, look, signal);
            return shown;
          },
        });
        output.note(
          `${grouped(summary.storedCount)} candles were stored; the demo's database is removed, nothing is left running.`,
        );
        end(stop.exitStatus());
      } finally {
        // Gives the terminal back before an error is shown.
        ended.abort();
        await shown.catch(() => undefined);
        await simulator.close();
        await rm(dataDir, { recursive: true, force: true });
        process.off("exit", leaveNothing);
        stop.dispose();
      }
    });
}

/** A second Ctrl-C ends this process at once: the server, which outlives its users, goes with it, for nobody needs its data. */
function removeAtOnce(dataDir: string): void {
  try {
    const pid = Number(
      readFileSync(join(dataDir, "pg18", "postmaster.pid"), "utf8").split("\n")[0],
    );
    if (pid > 0) process.kill(pid, "SIGQUIT");
  } catch {
    // It has not begun, or has ended.
  }
  // Until the server has ended, it may make files in a folder that is being removed.
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let left = 40; left > 0 && existsSync(dataDir); left -= 1) {
    try {
      rmSync(dataDir, { recursive: true, force: true });
    } catch {
      Atomics.wait(pause, 0, 0, 50);
    }
  }
}

/** Where the demo's parts are. */
interface Places {
  readonly dataDir: string;
  readonly url: string;
  readonly wsUrl: string;
}

const NOWHERE: Places = {
  dataDir: "data",
  url: "http://127.0.0.1",
  wsUrl: "ws://127.0.0.1",
};

/**
 * Only flags count: the settings of the environment and of `.env` are those of real ingestion, and made-up candles must
 * not get into its database.
 */
function demoConfig(options: DemoOptions, { dataDir, url, wsUrl }: Places): Config {
  return loadConfig(
    {
      TRADING_PAIRS: options.symbols,
      TIMEFRAMES: options.timeframes,
      HTTP_PORT: options.httpPort,
      DATA_DIR: dataDir,
      BINANCE_REST_URL: url,
      BINANCE_WS_URL: wsUrl,
      BINANCE_ARCHIVE_URL: url,
    },
    { env: {}, envFile: "" },
  );
}

interface Look {
  readonly dataDir: string;
  readonly isDrawn: boolean;
  readonly isJson: boolean;
  readonly logLines: readonly string[];
}

/** Shows the newest stored candles of every series until `signal` is aborted. */
async function show(
  output: Output,
  running: RunningIngest,
  look: Look,
  signal: AbortSignal,
): Promise<void> {
  const { store, series, httpUrl, connectHint } = running;
  const readStatus = createStatusReader(store, systemClock.monotonic);
  const screen = new Screen(output);
  const shown = new Map<string, number>();
  const count = look.isDrawn ? 1 : SHOWN_CANDLES;
  let newest = new Map<string, readonly VersionedCandle[]>();
  if (!look.isDrawn && !look.isJson) {
    output.note(`metrics: ${httpUrl}/metrics · SQL: ${connectHint}`);
  }
  try {
    while (!signal.aborted) {
      const view = await readStatus();
      // A database that is away for a moment is the affair of the ingestion, which waits for it.
      newest = await newestOf(store, series, count).catch(() => newest);
      if (look.isDrawn) draw(output, screen, running, look, view, newest);
      else {
        for (const { series: one, candle } of [...newest.values()].flat()) {
          if (candle.openTime <= (shown.get(seriesKey(one)) ?? 0)) continue;
          shown.set(seriesKey(one), candle.openTime);
          output.result(
            look.isJson ? JSON.stringify({ ...one, ...candle }) : plainLine(one, candle),
          );
        }
      }
      await systemClock.sleep(REFRESH_MS, signal).catch(() => undefined);
    }
  } finally {
    screen.close();
  }
}

function plainLine(series: Series, candle: Candle): string {
  const { open, high, low, close, volume, openTime } = candle;
  const agoMs = systemClock.now() - closeTimeOf(series.timeframe, openTime);
  const label = seriesLabel(series);
  const pad = " ".repeat(Math.max(0, 12 - displayWidth(label)));
  return `${instant(openTime)}  ${label}${pad} open ${open}  high ${high}  low ${low}  close ${close}  volume ${volume}  closed ${duration(Math.max(0, agoMs))} ago`;
}

function draw(
  output: Output,
  screen: Screen,
  { series, httpUrl, connectHint }: RunningIngest,
  look: Look,
  view: StatusView,
  newest: ReadonlyMap<string, readonly VersionedCandle[]>,
): void {
  const now = systemClock.now();
  const states = new Map(
    view.isKnown ? view.series.map((one) => [seriesKey(one.series), one] as const) : [],
  );
  const rows = series.map((one) =>
    rowOf(one, states.get(seriesKey(one)), newest.get(seriesKey(one))?.at(-1)?.candle, now),
  );
  // On a narrow terminal the close has to do.
  const isWide = tableLines(output, HEADINGS, rows).every(
    (line) => displayWidth(stripVTControlCharacters(line)) < output.columns,
  );
  const table = isWide
    ? tableLines(output, HEADINGS, rows)
    : tableLines(output, withoutDetails(HEADINGS), rows.map(withoutDetails));
  const hint =
    displayWidth(connectHint) + 10 < output.columns
      ? connectHint
      : `npx black-trade db status --data-dir ${look.dataDir}`;
  const head = [
    `black-trade demo · exchange simulator → PostgreSQL · ${instant(now)} UTC`,
    "",
    ...(view.isKnown ? table : [...table, paint(output, "bad", view.reason)]),
  ];
  const places = [
    "",
    paint(output, "dim", `metrics  ${httpUrl}/metrics`),
    paint(output, "dim", `SQL      ${hint}`),
  ];
  const log = look.logLines.map((line) => paint(output, "dim", line));
  // The candles come first on a low terminal.
  const room = output.rows - head.length - 2;
  const forPlaces = room < places.length ? [] : places;
  const forLog =
    room - forPlaces.length < 2 ? [] : ["", ...log.slice(-(room - forPlaces.length - 1))];
  screen.draw(head, [...forPlaces, ...forLog, paint(output, "dim", "Ctrl-C ends it")]);
}

const HEADINGS = [
  ...["SERIES", "STATUS", "LATENCY", "OPENED"],
  ...["OPEN", "HIGH", "LOW", "CLOSE", "VOLUME", "TRADES"],
];

/** A row of {@link HEADINGS} without open, high and low. */
function withoutDetails<T>(row: readonly T[]): T[] {
  return [...row.slice(0, 4), ...row.slice(7)];
}

function rowOf(
  series: Series,
  state: SeriesView | undefined,
  candle: Candle | undefined,
  now: number,
): Cell[] {
  const word = state?.status.word ?? "starting";
  const latencyMs = state?.facts.latencyMs;
  const right = (text: string | undefined): Cell => ({ text: text ?? "-", isRight: true });
  const prices =
    candle === undefined ? [] : aligned([candle.open, candle.high, candle.low, candle.close]);
  return [
    { text: seriesLabel(series) },
    { text: word, tone: CONCERN_OF[word] },
    right(latencyMs === undefined ? undefined : latency(latencyMs)),
    { text: candle === undefined ? "-" : moment(candle.openTime, now) },
    ...[0, 1, 2, 3].map((index) => right(prices[index])),
    right(aligned([candle?.volume ?? "-"])[0]),
    right(candle === undefined ? undefined : String(candle.tradeCount)),
  ];
}

/** Decimals without the zeros at the end that all of them have. */
function aligned(decimals: readonly string[]): string[] {
  const places = Math.max(
    ...decimals.map((text) => (/\.\d*[1-9]/.exec(text)?.[0].length ?? 1) - 1),
  );
  return decimals.map((text) => {
    const point = text.indexOf(".");
    return point < 0 ? text : text.slice(0, places === 0 ? point : point + 1 + places);
  });
}

/** The newest stored candles of each series, ascending, by key. */
async function newestOf(
  store: Store,
  series: readonly Series[],
  count: number,
): Promise<Map<string, readonly VersionedCandle[]>> {
  return new Map(
    await Promise.all(
      series.map(async (one) => [seriesKey(one), await store.latest(one, count)] as const),
    ),
  );
}

function secondsOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value * 1_000;
  throw new BlackTradeError("E_USAGE", `--for: "${text}" is not a number of seconds`, {
    remedy: "give it like --for 30",
  });
}
