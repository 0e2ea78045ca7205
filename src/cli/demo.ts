import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { type RunningIngest, runIngest } from "../app.ts";
import { systemClock } from "../clock.ts";
import { BlackTradeError } from "../core/errors.ts";
import type { VersionedCandle } from "../core/finality.ts";
import { type Series, seriesKey, seriesLabel } from "../core/series.ts";
import { closeTimeOf } from "../core/timeframe.ts";
import { createStatusReader } from "../serve/status-reader.ts";
import { SeededMarket, startSimulator } from "../simulator/index.ts";
import type { Store } from "../store/index.ts";
import { configOf, type ExitStatus, stopSignal } from "./command.ts";
import { type Cell, duration, instant, type Output, paint, Screen, tableLines } from "./output.ts";

interface DemoOptions {
  readonly symbols: string;
  readonly timeframes: string;
  readonly for?: string;
  readonly httpPort: string;
  readonly json?: boolean;
}

const REFRESH_MS = 1_000;
const SHOWN_LOG_LINES = 6;

/** `demo`: everything at work against the built-in exchange, leaving nothing behind. */
export function demoCommand(output: Output, end: (status: ExitStatus) => void): Command {
  return new Command("demo")
    .description(
      "all of it at work against the built-in exchange, in a database of its own; needs no network",
    )
    .option("--symbols <list>", "symbols of the simulated market", "BTCUSDT,ETHUSDT,SOLUSDT")
    .option("--timeframes <list>", "timeframes to collect", "1s,1m,5m,1h")
    .option("--http-port <port>", "port of /metrics, /livez and /readyz; 0 = any free one", "0")
    .option("--for <seconds>", "stop by itself after so long")
    .option("--json", "one JSON document a new candle")
    .addHelpText(
      "before",
      `Examples:
  npx black-trade demo
  npx black-trade demo --symbols BTCUSDT --timeframes 1s,1m
  npx black-trade demo --for 30 --json
`,
    )
    .action(async (options: DemoOptions) => {
      const stop = stopSignal();
      const ended = new AbortController();
      const signal = AbortSignal.any([stop.signal, ended.signal]);
      const forMs = secondsOf(options.for);
      // The server's own user has to reach it, also when this runs as root: the system's folder for such things.
      const dataDir = await mkdtemp(join(tmpdir(), "black-trade-demo-"));
      await chmod(dataDir, 0o755);
      output.note("starting an exchange simulator and a PostgreSQL of its own …");
      const simulator = await startSimulator({ market: new SeededMarket(), clock: systemClock });
      try {
        const config = configOf(
          { ...options },
          {
            DATABASE_URL: "",
            DATA_DIR: dataDir,
            INGESTION_MODE: "websocket",
            BINANCE_REST_URL: simulator.url,
            BINANCE_WS_URL: simulator.wsUrl,
            HTTP_HOST: "127.0.0.1",
            LOG_LEVEL: "info",
          },
        );
        if (forMs !== undefined) {
          systemClock.sleep(forMs, signal).then(
            () => ended.abort(),
            () => undefined,
          );
        }
        const logLines: string[] = [];
        const isDrawn = output.isTerminal && !options.json;
        const summary = await runIngest(config, {
          signal,
          isHttpEnabled: true,
          isLogPlain: true,
          writeLog: (line) => {
            if (!isDrawn) process.stderr.write(line);
            logLines.push(line.trimEnd());
            if (logLines.length > SHOWN_LOG_LINES) logLines.shift();
          },
          whileRunning: (running) =>
            show(output, running, { isDrawn, isJson: options.json === true, logLines }, signal),
        });
        if (options.json) output.result(JSON.stringify(summary));
        else
          output.note(
            `${summary.storedCount} candles were stored; the demo's database is removed, nothing is left running.`,
          );
        end(stop.exitStatus());
      } finally {
        stop.dispose();
        await simulator.close();
        await rm(dataDir, { recursive: true, force: true });
      }
    });
}

interface Look {
  readonly isDrawn: boolean;
  readonly isJson: boolean;
  readonly logLines: readonly string[];
}

/** Shows the newest stored candle of every series until `signal` is aborted. */
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
  if (!look.isDrawn && !look.isJson) {
    output.note(`metrics: ${httpUrl}/metrics · SQL: ${connectHint}`);
  }
  while (!signal.aborted) {
    const [view, newest] = await Promise.all([readStatus(), newestOf(store, series)]);
    if (look.isDrawn) {
      const status = new Map(
        view.isKnown ? view.series.map((one) => [seriesKey(one.series), one] as const) : [],
      );
      screen.draw([
        `black-trade demo · exchange simulator → PostgreSQL · ${instant(systemClock.now())} UTC`,
        "",
        ...tableLines(
          output,
          [
            "SERIES",
            "STATUS",
            "OPENED",
            "OPEN",
            "HIGH",
            "LOW",
            "CLOSE",
            "VOLUME",
            "TRADES",
            "LATENCY",
          ],
          series.map((one): Cell[] => {
            const at = status.get(seriesKey(one));
            const candle = newest.get(seriesKey(one))?.candle;
            const word = at?.status.word ?? "starting";
            const right = (text: string | undefined): Cell => ({
              text: text ?? "-",
              isRight: true,
            });
            return [
              { text: seriesLabel(one) },
              { text: word, tone: word === "active" ? "good" : "busy" },
              { text: candle === undefined ? "-" : instant(candle.openTime).slice(11) },
              right(candle?.open),
              right(candle?.high),
              right(candle?.low),
              right(candle?.close),
              right(candle?.volume),
              right(candle === undefined ? undefined : String(candle.tradeCount)),
              right(
                at?.facts.latencyMs === undefined
                  ? undefined
                  : `${Math.round(at.facts.latencyMs)} ms`,
              ),
            ];
          }),
        ),
        "",
        paint(output, "dim", `metrics  ${httpUrl}/metrics`),
        paint(output, "dim", `SQL      ${connectHint}`),
        "",
        ...look.logLines.map((line) => paint(output, "dim", line)),
        paint(output, "dim", "Ctrl-C ends it"),
      ]);
    } else {
      for (const one of series) {
        const candle = newest.get(seriesKey(one))?.candle;
        if (candle === undefined || shown.get(seriesKey(one)) === candle.openTime) continue;
        shown.set(seriesKey(one), candle.openTime);
        const agoMs = systemClock.now() - closeTimeOf(one.timeframe, candle.openTime);
        output.result(
          look.isJson
            ? JSON.stringify({ ...one, ...candle })
            : `${instant(candle.openTime)}  ${seriesLabel(one).padEnd(12)} open ${candle.open}  high ${candle.high}  low ${candle.low}  close ${candle.close}  volume ${candle.volume}  closed ${duration(Math.max(0, agoMs))} ago`,
        );
      }
    }
    await systemClock.sleep(REFRESH_MS, signal).catch(() => undefined);
  }
  screen.close();
}

/** The newest stored candle of each series, by key. */
async function newestOf(
  store: Store,
  series: readonly Series[],
): Promise<Map<string, VersionedCandle>> {
  const newest = await Promise.all(series.map((one) => store.latest(one, 1)));
  return new Map(newest.flat().map((row) => [seriesKey(row.series), row]));
}

function secondsOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value * 1_000;
  throw new BlackTradeError("E_USAGE", `--for: "${text}" is not a number of seconds`, {
    remedy: "give it like --for 30",
  });
}
