import { once } from "node:events";
import { Command } from "commander";
import { fastClock, systemClock } from "../clock.ts";
import { BlackTradeError, messageOf } from "../core/errors.ts";
import {
  DEFAULT_SYMBOLS,
  type Market,
  MIN_TRADES_PER_DAY,
  manySymbols,
  RecordedMarket,
  readRecordedFiles,
  SeededMarket,
  type SeededSymbol,
  seededSymbols,
  startSimulator,
} from "../simulator/index.ts";
import { type ExitStatus, stopSignal } from "./command.ts";
import { instant, type Output } from "./output.ts";
import { parseTime } from "./time-argument.ts";

interface SimulateOptions {
  readonly port: string;
  readonly seed: string;
  readonly symbols?: string;
  readonly tradesPerDay?: string;
  readonly csv?: readonly string[];
  readonly startAt?: string;
  readonly speed: string;
  readonly json?: boolean;
}

/** `simulate`: the exchange simulator alone. */
export function simulateCommand(output: Output, end: (status: ExitStatus) => void): Command {
  return new Command("simulate")
    .description("an exchange on this machine: Binance's REST, WebSocket and archives, with faults")
    .option("--port <port>", "where to listen on 127.0.0.1; 0 = any free port", "9443")
    .option("--seed <number>", "of the market; the same seed gives the same candles", "1")
    .option(
      "--symbols <list>",
      "symbols of the seeded market, or a number of made-up ones (default: a dozen)",
    )
    .option(
      "--trades-per-day <number>",
      "of each made-up symbol (default: a few busy and most of them quiet, as on the real market)",
    )
    .option(
      "--csv <files...>",
      "serve these recorded candles instead ({SYMBOL}_{TIMEFRAME}.csv[.gz], archive files, JSON)",
    )
    .option(
      "--start-at <time>",
      "what the exchange's clock says at first, e.g. 2023-03-24T12:30Z (default: now; with --csv: a day before their end)",
    )
    .option("--speed <factor>", "how fast its clock runs", "1")
    .option("--json", "one JSON document when it listens")
    .addHelpText(
      "before",
      `Examples:
  npx black-trade simulate
  npx black-trade simulate --csv BTCUSDT_1h.csv.gz --start-at 2023-03-24T12:30Z
  BINANCE_REST_URL=http://127.0.0.1:9443 BINANCE_WS_URL=ws://127.0.0.1:9443 \\
    BINANCE_ARCHIVE_URL=http://127.0.0.1:9443 DATA_DIR=data-simulated npx black-trade ingest

Faults are switched while it runs:
  curl -s localhost:9443/sim/state
  curl -s -X POST localhost:9443/sim/faults -H 'content-type: application/json' -d '{"kind":"drop","code":1006}'
  curl -s -X POST localhost:9443/sim/faults -H 'content-type: application/json' -d '{"kind":"ban","ms":60000}'
  curl -s -X DELETE localhost:9443/sim/faults
`,
    )
    .action(async (options: SimulateOptions) => {
      const port = portOf(options.port);
      const speed = numberOf("--speed", options.speed);
      if (speed === 0) throw usage("--speed: at 0 the clock would stand still", "give --speed 10");
      const stop = stopSignal();
      const { market, lastTime } = await marketOf(options);
      const startAt = startOf(options, lastTime);
      const simulator = await startSimulator({
        market,
        clock: speed === 1 ? systemClock : fastClock(speed),
        port,
        ...(startAt === undefined ? {} : { startAt }),
      }).catch((error: unknown) => {
        throw listenError(error, port);
      });
      const symbols = market.symbols(simulator.now()).map(({ symbol }) => symbol);
      if (options.json) {
        const { url, wsUrl, port } = simulator;
        output.result(JSON.stringify({ url, wsUrl, port, exchangeTime: simulator.now(), symbols }));
      } else {
        output.result(`exchange simulator at ${simulator.url} and ${simulator.wsUrl}`);
        output.result(
          `its clock says ${instant(simulator.now())} UTC; ${symbols.length} symbols: ${symbols.slice(0, 20).join(" ")}`,
        );
        output.result(
          `faults: ${simulator.url}/sim/faults · what it saw: ${simulator.url}/sim/journal · Ctrl-C ends it`,
        );
      }
      if (!stop.signal.aborted) await once(stop.signal, "abort");
      await simulator.close();
      stop.dispose();
      end(stop.exitStatus());
    });
}

async function marketOf(options: SimulateOptions): Promise<{ market: Market; lastTime?: number }> {
  if (options.csv !== undefined) {
    const series = await readRecordedFiles(options.csv).catch((error: unknown) => {
      throw usage(
        `--csv: ${messageOf(error)}`,
        "give files named like BTCUSDT_1h.csv or BTCUSDT-1h-2024-12.csv",
      );
    });
    const lastTime = Math.max(...series.map(({ rows }) => rows.at(-1)?.openTime ?? 0));
    return { market: new RecordedMarket({ series }), lastTime };
  }
  const seed = numberOf("--seed", options.seed);
  return { market: new SeededMarket({ seed, symbols: symbolsOf(options) }) };
}

function symbolsOf({ symbols, tradesPerDay }: SimulateOptions): readonly SeededSymbol[] {
  const count = symbols !== undefined && /^\d+$/.test(symbols) ? Number(symbols) : undefined;
  if (tradesPerDay === undefined) {
    if (symbols === undefined) return DEFAULT_SYMBOLS;
    return count === undefined ? seededSymbols(namesOf(symbols)) : manySymbols(count);
  }
  if (count === undefined)
    throw usage("--trades-per-day is for made-up symbols", "give --symbols a number as well");
  const wanted = numberOf("--trades-per-day", tradesPerDay);
  if (wanted < MIN_TRADES_PER_DAY)
    throw usage(`--trades-per-day: at least ${MIN_TRADES_PER_DAY}`, "give a greater number");
  return manySymbols(count, wanted);
}

function namesOf(text: string): string[] {
  const names = text.split(",").map((name) => name.trim().toUpperCase());
  const wrong = names.find((name) => !/^[\p{L}\p{N}_.-]{1,50}$/u.test(name));
  if (wrong === undefined) return [...new Set(names)];
  throw usage(`--symbols: "${wrong}" is not a symbol`, "write them like BTCUSDT,ETHUSDT");
}

const DAY_MS = 86_400_000;

function startOf(options: SimulateOptions, lastTime: number | undefined): number | undefined {
  if (options.startAt === undefined) return lastTime === undefined ? undefined : lastTime - DAY_MS;
  return parseTime("--start-at", options.startAt, systemClock.now());
}

function numberOf(flag: string, text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value < 0) {
    throw usage(`${flag}: "${text}" is not a number`, `give ${flag} a number that is not negative`);
  }
  return value;
}

function portOf(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw usage(
    `--port: "${text}" is not a port`,
    "give a number from 1 to 65535, or 0 for any free port",
  );
}

function listenError(error: unknown, port: number): unknown {
  // What is no system call's fault is a defect, and shown as one.
  if (!(error instanceof Error && "syscall" in error && "code" in error)) return error;
  const isTaken = error.code === "EADDRINUSE";
  return new BlackTradeError(
    isTaken ? "E_PORT_IN_USE" : "E_HTTP_BIND",
    isTaken
      ? `port ${port} on 127.0.0.1 is used by another program`
      : `cannot listen on port ${port}: ${messageOf(error)}`,
    { remedy: "choose another with --port, or 0 for any free one", cause: error },
  );
}

function usage(message: string, remedy: string): BlackTradeError {
  return new BlackTradeError("E_USAGE", message, { remedy });
}
