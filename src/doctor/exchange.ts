import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seriesOf, WEIGHT_PER_MINUTE } from "../app.ts";
import { systemClock } from "../clock.ts";
import { isLoopback, SETTINGS } from "../config.ts";
import { BlackTradeError } from "../core/errors.ts";
import type { IngestEvent } from "../core/events.ts";
import type { Ban } from "../core/ports.ts";
import type { Series } from "../core/series.ts";
import { ago } from "../core/status.ts";
import { openTimeAt } from "../core/timeframe.ts";
import {
  createBinanceArchive,
  createBinanceRest,
  createBinanceStream,
  EXCHANGE,
  planArchive,
  refuseUnknownSymbols,
} from "../exchanges/binance/index.ts";
import type { Check, Verdict } from "./check.ts";
import type { Context } from "./context.ts";

const DAY_MS = 86_400_000;
/** An active pair is pushed every 2 s; the connection and the subscription take their time, too. */
const CANDLE_WAIT_MS = 12_000;
const STREAM_DEADLINE_MS = 20_000;
const CLOCK_WARN_MS = 2_000;
/** Streams subscribed for the look: one of them is alive, or the way is closed. */
const MAX_STREAMS = 50;
/** Above what this program itself would use for history and healing. */
const BUSY_WEIGHT = 0.8 * WEIGHT_PER_MINUTE;
/** A daily file that must be there by now. */
const ARCHIVE_AGE_DAYS = 4;

/** The exchange's three hosts and what they say of us. None is asked during a stored ban. */
export const EXCHANGE_CHECKS: readonly Check<Context>[] = [
  {
    id: "exchange-rest",
    title: "exchange by REST",
    needs: ["configuration"],
    after: ["ban"],
    run: rest,
  },
  { id: "clock", title: "clock of this machine", needs: ["exchange-rest"], run: clock },
  { id: "symbols", title: "symbols at the exchange", needs: ["exchange-rest"], run: symbols },
  {
    id: "exchange-stream",
    title: "exchange by WebSocket",
    needs: ["configuration"],
    after: ["ban"],
    deadlineMs: STREAM_DEADLINE_MS,
    run: stream,
  },
  {
    id: "exchange-archive",
    title: "archive of the exchange",
    needs: ["configuration"],
    after: ["ban"],
    run: archive,
  },
];

const BANNED: Verdict = { status: "skip", found: 'not asked: a ban is stored (see "ban")' };

async function rest(context: Context, signal: AbortSignal): Promise<Verdict> {
  if (context.ban !== undefined) return BANNED;
  const { config, exchangeTime } = context;
  const source = restSource(context);
  try {
    await source.syncTime(signal);
  } catch (error) {
    throw withHostHint(error, config.binance.restUrl, SETTINGS.BINANCE_REST_URL.fallback);
  }
  const used = context.budget.usedAt(exchangeTime.now(context.clock.monotonic()));
  return weightVerdict(used, config.binance.restUrl);
}

/** Judges the request weight that the exchange counts for this address. */
export function weightVerdict(used: number, restUrl: string): Verdict {
  const found = `${restUrl} answers, ${used} of ${WEIGHT_PER_MINUTE} request weight in use this minute`;
  return used < BUSY_WEIGHT
    ? { status: "ok", found }
    : {
        status: "warn",
        found,
        remedy:
          "Other programs on this address use it up; beyond the limit Binance bans all of them. Slow them down, or give one of them another address.",
      };
}

/** A host that is closed to this region or blocked is most often one that somebody set. */
function withHostHint(error: unknown, used: string, usual: string): unknown {
  const codes = ["E_SOURCE_REGION", "E_SOURCE_BLOCKED", "E_SOURCE_REFUSED", "E_SOURCE_BAD_ANSWER"];
  if (!(error instanceof BlackTradeError) || !codes.includes(error.code) || used === usual) {
    return error;
  }
  return new BlackTradeError(error.code, error.message, {
    remedy: `${error.remedy} ${used} was set by BINANCE_REST_URL; the usual ${usual} needs no account and has no block by region.`,
    cause: error,
  });
}

function restSource(context: Context) {
  const { config, clock: machine, exchangeTime, budget, store } = context;
  return createBinanceRest({
    baseUrl: config.binance.restUrl,
    clock: machine,
    exchangeTime,
    budget,
    random: Math.random,
    record: () => undefined,
    // A ban that the doctor meets holds for everybody.
    onHold: async (ban: Ban) => {
      const now = exchangeTime.isKnown ? exchangeTime.now(machine.monotonic()) : machine.now();
      await store?.save(ban, ban.untilTime - now);
    },
  });
}

function clock({ exchangeTime, clock: machine }: Context): Verdict {
  const offsetMs = exchangeTime.now(machine.monotonic()) - machine.now();
  const errorMs = exchangeTime.errorMs;
  const uncertain = Number.isFinite(errorMs) ? ` (± ${Math.ceil(errorMs)} ms)` : "";
  const found = `${Math.abs(offsetMs)} ms ${offsetMs >= 0 ? "behind" : "ahead of"} the exchange's${uncertain}`;
  return Math.abs(offsetMs) <= CLOCK_WARN_MS
    ? { status: "ok", found }
    : {
        status: "warn",
        found: `${ago(Math.abs(offsetMs))} ${offsetMs >= 0 ? "behind" : "ahead of"} the exchange's`,
        remedy:
          "Candles do not suffer, the exchange's time is used. Set the clock for the log's sake: timedatectl set-ntp true",
      };
}

async function symbols(context: Context, signal: AbortSignal): Promise<Verdict> {
  const { config } = context;
  const markets = await restSource(context).markets(signal);
  refuseUnknownSymbols(config.symbols, markets);
  const halted = markets.filter(
    ({ symbol, isTrading }) => config.symbols.includes(symbol) && !isTrading,
  );
  if (halted.length === 0) {
    return {
      status: "ok",
      found: `${config.symbols.length} of ${config.symbols.length} are traded`,
    };
  }
  return {
    status: "warn",
    found: `not traded at the moment: ${halted.map(({ symbol, status }) => `${symbol} (${status})`).join(", ")}`,
    remedy:
      "Nothing to do: their candles come when trading goes on. Or take them out of TRADING_PAIRS.",
  };
}

async function stream(context: Context, signal: AbortSignal): Promise<Verdict> {
  const { config, clock: machine, exchangeTime } = context;
  if (config.mode === "polling") {
    return { status: "skip", found: "INGESTION_MODE is polling: no WebSocket is used" };
  }
  if (context.ban !== undefined) return BANNED;
  const began = machine.monotonic();
  const faults: string[] = [];
  let isConnected = false;
  const ended = new AbortController();
  const all = AbortSignal.any([signal, ended.signal]);
  const source = createBinanceStream({
    wsUrl: config.binance.wsUrl,
    clock: machine,
    exchangeTime,
    random: Math.random,
    firstDelayMs: config.reconnectDelayMs,
    record: (event: IngestEvent) => {
      if (event.kind === "connectFailed" || event.kind === "disconnected")
        faults.push(event.reason);
      if (event.kind === "connectFailed") ended.abort();
    },
  });
  machine.sleep(CANDLE_WAIT_MS, all).then(
    () => ended.abort(),
    () => undefined,
  );
  for await (const events of source.stream(seriesOf(config).slice(0, MAX_STREAMS), all)) {
    isConnected ||= events.some(({ kind }) => kind === "connected");
    if (!events.some(({ kind }) => kind === "candle")) continue;
    ended.abort();
    const tookMs = Math.round(machine.monotonic() - began);
    return { status: "ok", found: `${config.binance.wsUrl}: first candle after ${tookMs} ms` };
  }
  signal.throwIfAborted();
  return isConnected
    ? {
        status: "warn",
        found: `connected and subscribed, but no candle came within ${CANDLE_WAIT_MS / 1_000} s`,
        remedy:
          'Thinly traded pairs are silent for minutes. If BTCUSDT is silent, too, something between swallows the data: "npx black-trade ingest polling" does without it.',
      }
    : {
        status: "fail",
        found: `no WebSocket: ${faults[0] ?? "no answer"}`,
        remedy: `${streamRemedy(faults[0] ?? "", config.binance.wsUrl)} Meanwhile candles come by REST; "npx black-trade ingest polling" does without the WebSocket.`,
        code: "E_SOURCE_UNREACHABLE",
      };
}

function streamRemedy(reason: string, used: string): string {
  if (/region|firewall/.test(reason)) {
    return `Leave BINANCE_WS_URL empty: ${SETTINGS.BINANCE_WS_URL.fallback} has no block by region.`;
  }
  if (/banned|too many/.test(reason)) return "Wait, and stop other programs on this address.";
  if (/resolve/.test(reason)) return "Check the network, the DNS server and BINANCE_WS_URL.";
  if (/certificate|TLS/.test(reason)) return "Something between answers in the exchange's place.";
  return isLoopback(new URL(used).hostname)
    ? "Is the program that BINANCE_WS_URL names running?"
    : "Check that the network lets WebSockets pass (port 443).";
}

async function archive(context: Context, signal: AbortSignal): Promise<Verdict> {
  if (context.ban !== undefined) return BANNED;
  const { config, clock: machine, exchangeTime } = context;
  const [symbol = "BTCUSDT"] = config.symbols;
  const series: Series = { exchange: EXCHANGE, symbol, timeframe: "1d" };
  const now = exchangeTime.isKnown ? exchangeTime.now(machine.monotonic()) : systemClock.now();
  const from = openTimeAt("1d", now - ARCHIVE_AGE_DAYS * DAY_MS);
  const [file] = planArchive(series, { from, to: from + DAY_MS }, now, {
    kinds: ["archive-daily"],
  }).files;
  if (file === undefined) return { status: "skip", found: "no file is to be expected" };
  const tempFolder = await mkdtemp(join(tmpdir(), "black-trade-doctor-"));
  try {
    const source = createBinanceArchive({
      baseUrl: config.binance.archiveUrl,
      tempFolder,
      clock: machine,
      exchangeTime,
      onHold: async () => undefined,
    });
    const opened = await source.open(file, signal);
    if (opened.kind === "not-published") {
      return {
        status: "ok",
        found: `${config.binance.archiveUrl} answers; it has no file of ${symbol} for that day`,
      };
    }
    await opened.close();
    return {
      status: "ok",
      found: `${config.binance.archiveUrl} answers, checksum ${opened.check}`,
    };
  } finally {
    await rm(tempFolder, { recursive: true, force: true });
  }
}
