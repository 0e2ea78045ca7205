import { Command } from "commander";
import { withHistory } from "../app.ts";
import { systemClock } from "../clock.ts";
import { type Config, SETTINGS } from "../config.ts";
import { BlackTradeError } from "../core/errors.ts";
import type { Finding } from "../core/findings.ts";
import { seriesLabel } from "../core/series.ts";
import { EXCHANGE } from "../exchanges/binance/index.ts";
import { chooseWanted } from "../ingest/choose.ts";
import type { Wanted } from "../ingest/history.ts";
import { type Reread, sampleRanges, type Verification, verify } from "../ingest/verify.ts";
import { openDatabase } from "../open-database.ts";
import { createSha256 } from "../sha256.ts";
import type { Store } from "../store/index.ts";
import { configOfExisting, type ExitStatus, untilStopped, withDatabaseFlags } from "./command.ts";
import type { Output } from "./output.ts";
import { ProgressLine } from "./progress.ts";
import { checkRange, parseTime } from "./time-argument.ts";
import { type VerifyCsvOptions, verifyCsv } from "./verify-csv.ts";
import { isClean, type Repaired, verificationDocument, verificationLines } from "./verify-lines.ts";

interface VerifyFlags {
  readonly symbols?: string;
  readonly timeframes?: string;
  readonly from?: string;
  readonly to?: string;
  readonly againstExchange?: string | boolean;
  readonly repair?: boolean;
  readonly csv?: string;
  readonly list?: boolean;
  readonly json?: boolean;
}

/** `verify`: check what is stored. */
export function verifyCommand(output: Output, end: (status: ExitStatus) => void): Command {
  return withDatabaseFlags(new Command("verify"))
    .description(
      "check what is stored: gaps, structure, frozen candles, timeframe against timeframe, the exchange",
    )
    .option("--symbols <list>", `${SETTINGS.TRADING_PAIRS.help}; default: all that is stored`)
    .option("--timeframes <list>", `${SETTINGS.TIMEFRAMES.help}; default: all that is stored`)
    .option(
      "--from <time>",
      "first open time, e.g. 2025-01-01 or -30d; default: the first stored candle",
    )
    .option("--to <time>", "end of the range; default: now")
    .option(
      "--against-exchange [pages]",
      "ask REST too: everything, or a sample of so many pages of 1,000 a series",
    )
    .option("--repair", "fetch what is missing or suspect from the exchange, and show what changed")
    .option(
      "--csv <folder>",
      "compare with CSV files (SYMBOL_TIMEFRAME.csv) instead: every row, every value, either side",
    )
    .option("--list", "every finding, not only the counts")
    .option("--json", "one JSON document")
    .addHelpText(
      "before",
      `Examples:
  npx black-trade verify
  npx black-trade verify --symbols BTCUSDT --from -30d --list
  npx black-trade verify --against-exchange 5
  npx black-trade verify --repair
  npx black-trade verify --csv data/ohlcv

A disagreement alone changes nothing: only what the exchange serves with a higher authority replaces a row, and the old
version is kept. Exit status: 0 clean, 3 there are findings, 4 no database or exchange.
`,
    )
    .action((flags: VerifyFlags) => run(output, end, flags));
}

async function run(
  output: Output,
  end: (status: ExitStatus) => void,
  flags: VerifyFlags,
): Promise<void> {
  checkFlags(flags);
  const config = configOfExisting({ ...flags });
  const line = new ProgressLine(output, process.stderr.isTTY === true && !flags.json);
  const stays = "nothing that was not committed was changed";
  await untilStopped(output, end, stays, async (signal) => {
    const request: Request = { output, flags, config, line, signal };
    const isAsking = flags.againstExchange !== undefined || flags.repair === true;
    const verifying =
      flags.csv !== undefined
        ? verifyCsv(output, config, csvOptions(request))
        : isAsking
          ? verifyAsking(request)
          : verifyStored(request);
    end((await verifying.finally(() => line.end())) ? 0 : 3);
  });
}

/** What one call of the command works with. */
interface Request {
  readonly output: Output;
  readonly flags: VerifyFlags;
  readonly config: Config;
  readonly line: ProgressLine;
  readonly signal: AbortSignal;
}

/** Without a request to the exchange. @returns whether all is clean */
async function verifyStored(request: Request): Promise<boolean> {
  const database = await openDatabase(request.config);
  try {
    const store = await database.openStore("read");
    const all = await chosen(request, store, await nowOf(store));
    const result = await check(request, store, all, "checking");
    show(request, result);
    return isClean(result);
  } finally {
    await database.close();
  }
}

/** Against the exchange, with a repair, or both. @returns whether all is clean in the end */
function verifyAsking(request: Request): Promise<boolean> {
  const { flags, config, line, signal } = request;
  return withHistory(
    config,
    {
      signal,
      isLogPlain: !flags.json,
      symbols: flags.symbols === undefined ? [] : config.symbols,
      onProgress: (progress) => line.show(progress, "filling"),
    },
    async ({ store, history, now }) => {
      const all = await chosen(request, store, now());
      const first = await check(request, store, all, "checking");
      const findings: Finding[] = [...first.findings];
      const compared: Reread[] = [];
      if (flags.againstExchange !== undefined) {
        for (const { series, range } of all) {
          const pages = Number(flags.againstExchange);
          const ranges =
            flags.againstExchange === true ? [range] : sampleRanges(series, range, pages);
          const onProgress = line.phase(`asking for ${seriesLabel(series)}`);
          findings.push(...(await history.compare(series, ranges, signal, onProgress)));
          line.end();
          compared.push({ series, ranges });
        }
      }
      const before = { ...first, findings };
      if (!flags.repair) {
        show(request, before);
        return isClean(before);
      }
      const onProgress = line.phase("reading again");
      const repaired = await history.repair(all, findings, compared, signal, onProgress);
      line.end();
      const after = await check(request, store, all, "checking again");
      show(request, before, { ...repaired, after });
      return isClean(after);
    },
  );
}

function chosen({ flags, config }: Request, store: Store, now: number): Promise<readonly Wanted[]> {
  return chooseWanted(
    { store, configured: [], exchange: EXCHANGE, now },
    {
      kind: "verify",
      symbols: flags.symbols === undefined ? undefined : config.symbols,
      timeframes: flags.timeframes === undefined ? undefined : config.timeframes,
      from: flags.from === undefined ? undefined : parseTime("--from", flags.from, now),
      to: flags.to === undefined ? undefined : parseTime("--to", flags.to, now),
      isAsking: flags.againstExchange !== undefined || flags.repair === true,
    },
  );
}

function check(
  { line, signal }: Request,
  store: Store,
  all: readonly Wanted[],
  what: string,
): Promise<Verification> {
  const options = { store, createHash: createSha256, onProgress: line.phase(what) };
  return verify(options, all, signal).finally(() => line.end());
}

/** Before a database is opened for it. @throws {BlackTradeError} E_USAGE */
function checkFlags(flags: VerifyFlags): void {
  const { csv, repair, againstExchange } = flags;
  checkRange(flags, systemClock.now());
  if (csv !== undefined && (repair || againstExchange !== undefined)) {
    throw new BlackTradeError("E_USAGE", "--csv only compares", {
      remedy: "Give --repair or --against-exchange without --csv.",
    });
  }
  if (typeof againstExchange === "string" && !/^[1-9]\d{0,5}$/.test(againstExchange)) {
    throw new BlackTradeError(
      "E_USAGE",
      `--against-exchange: "${againstExchange}" is not a number of pages`,
      { remedy: "give a whole number like 5, or none for everything" },
    );
  }
}

function csvOptions({ flags, config, line, signal }: Request): VerifyCsvOptions {
  const now = systemClock.now();
  return {
    folder: flags.csv ?? "",
    isChosen: ({ symbol, timeframe }) =>
      (flags.symbols === undefined || config.symbols.includes(symbol)) &&
      (flags.timeframes === undefined || config.timeframes.includes(timeframe)),
    range: {
      from: flags.from === undefined ? 0 : parseTime("--from", flags.from, now),
      to: flags.to === undefined ? Number.MAX_SAFE_INTEGER : parseTime("--to", flags.to, now),
    },
    isListed: flags.list === true,
    isJson: flags.json === true,
    line,
    signal,
  };
}

/** Exchange time as the last ingester knew it, or this machine's where there was none. */
async function nowOf(store: Store): Promise<number> {
  const { run: last } = await store.facts();
  return last?.now ?? Date.now();
}

function show({ output, flags }: Request, found: Verification, repaired?: Repaired): void {
  const lines = flags.json
    ? [JSON.stringify(verificationDocument(found, repaired))]
    : verificationLines(output, found, repaired, flags.list === true);
  for (const line of lines) output.result(line);
}
