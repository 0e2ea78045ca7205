import { createHash } from "node:crypto";
import { Command } from "commander";
import { withHistory } from "../app.ts";
import { systemClock } from "../clock.ts";
import { type Config, SETTINGS } from "../config.ts";
import type { Certificate } from "../core/certificate.ts";
import { BlackTradeError } from "../core/errors.ts";
import { type Finding, groupFindings, type Severity } from "../core/findings.ts";
import { seriesLabel } from "../core/series.ts";
import { EXCHANGE } from "../exchanges/binance/index.ts";
import { chooseWanted } from "../ingest/choose.ts";
import type { Wanted } from "../ingest/history.ts";
import { type Reread, sampleRanges, type Verification, verify } from "../ingest/verify.ts";
import { openDatabase } from "../open-database.ts";
import type { Store } from "../store/index.ts";
import { configOfExisting, type ExitStatus, stopSignal, withDatabaseFlags } from "./command.ts";
import { knownOutageOf } from "./known-outage.ts";
import { instant, type Output, paint, type Tone, tableLines } from "./output.ts";
import { grouped, ProgressLine } from "./progress.ts";
import { checkRange, parseTime } from "./time-argument.ts";
import { type VerifyCsvOptions, verifyCsv } from "./verify-csv.ts";

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

const TONES: Readonly<Record<Severity, Tone>> = { wrong: "bad", suspect: "busy", info: "dim" };
const SHOWN = 60;

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
  const stop = stopSignal();
  const { signal } = stop;
  const line = new ProgressLine(output, process.stderr.isTTY === true && !flags.json);
  const check = (store: Store, all: readonly Wanted[], what: string): Promise<Verification> =>
    verify({ store, createHash: createSha, onProgress: line.phase(what) }, all, signal).finally(
      () => line.end(),
    );
  const createSha = (): { update(text: string): unknown; digest(): string } => {
    const hash = createHash("sha256");
    return { update: (text) => hash.update(text), digest: () => hash.digest("hex") };
  };
  const chosen = (store: Store, now: number): Promise<readonly Wanted[]> =>
    chooseWanted(
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
  try {
    if (flags.csv !== undefined) {
      end((await verifyCsv(output, config, csvOptions(flags, config, line, signal))) ? 0 : 3);
      return;
    }
    if (flags.againstExchange === undefined && !flags.repair) {
      const database = await openDatabase(config);
      try {
        const store = await database.openStore("read");
        const all = await chosen(store, await nowOf(store));
        const result = await check(store, all, "checking");
        show(output, result, flags, undefined);
        end(isClean(result) ? 0 : 3);
      } finally {
        await database.close();
      }
      return;
    }
    await withHistory(
      config,
      {
        signal,
        isLogPlain: !flags.json,
        symbols: flags.symbols === undefined ? [] : config.symbols,
        onProgress: (progress) => line.show(progress, "filling"),
      },
      async ({ store, history, now }) => {
        const all = await chosen(store, now());
        const first = await check(store, all, "checking");
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
          show(output, before, flags, undefined);
          end(isClean(before) ? 0 : 3);
          return;
        }
        const onProgress = line.phase("reading again");
        const repaired = await history.repair(all, findings, compared, signal, onProgress);
        line.end();
        const after = await check(store, all, "checking again");
        show(output, before, flags, { ...repaired, after });
        end(isClean(after) ? 0 : 3);
      },
    );
  } catch (error) {
    if (!signal.aborted) throw error;
    line.end();
    output.note("stopped; nothing that was not committed was changed");
    end(stop.exitStatus());
  } finally {
    line.end();
    stop.dispose();
  }
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

function csvOptions(
  flags: VerifyFlags,
  config: Config,
  line: ProgressLine,
  signal: AbortSignal,
): VerifyCsvOptions {
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

function isClean({ findings, certificates }: Verification): boolean {
  return (
    findings.every(({ severity }) => severity === "info") &&
    certificates.every((one) => one.isClean)
  );
}

interface Repaired {
  readonly askedCount: number;
  readonly revisedCount: number;
  readonly storedCount: number;
  readonly after: Verification;
}

function show(
  output: Output,
  result: Verification,
  flags: VerifyFlags,
  repaired: Repaired | undefined,
): void {
  if (flags.json) {
    output.result(
      JSON.stringify({
        isClean: isClean(repaired?.after ?? result),
        candleCount: result.candleCount,
        certificates: (repaired?.after ?? result).certificates,
        findings: result.findings.map(findingDocument),
        ...(repaired === undefined
          ? {}
          : {
              repair: {
                askedCount: repaired.askedCount,
                revisedCount: repaired.revisedCount,
                storedCount: repaired.storedCount,
                findingsAfter: repaired.after.findings.map(findingDocument),
              },
            }),
      }),
    );
    return;
  }
  output.result(
    `${grouped(result.candleCount)} candles of ${result.certificates.length} series checked`,
  );
  for (const line of findingLines(output, result.findings, flags.list === true))
    output.result(line);
  if (repaired !== undefined) {
    output.result("");
    output.result(
      `repair: ${grouped(repaired.askedCount)} candles read again, ${grouped(repaired.revisedCount)} corrected (old versions kept), ${grouped(repaired.storedCount)} new`,
    );
    output.result("after the repair:");
    for (const line of findingLines(output, repaired.after.findings, false)) output.result(line);
  }
  output.result("");
  for (const line of certificateLines(output, (repaired?.after ?? result).certificates))
    output.result(line);
}

function findingLines(output: Output, findings: readonly Finding[], isListed: boolean): string[] {
  if (findings.length === 0) return [paint(output, "good", "no findings")];
  if (isListed) {
    const rows = findings
      .slice(0, 10_000)
      .map((one) => [
        { text: seriesLabel(one.series) },
        { text: instant(one.openTime) },
        { text: one.severity, tone: TONES[one.severity] },
        { text: `${one.check}/${one.what}` },
        { text: `${one.evidence}${differencesText(one)}${outageText(one)}` },
      ]);
    return tableLines(output, ["SERIES", "OPENS", "SEVERITY", "CHECK", "EVIDENCE"], rows);
  }
  const groups = groupFindings(findings);
  const rows = groups
    .slice(0, SHOWN)
    .map((group) => [
      { text: seriesLabel(group.series) },
      { text: `${group.check}/${group.what}` },
      { text: group.severity, tone: TONES[group.severity] },
      { text: grouped(group.count), isRight: true },
      { text: instant(group.range.from) },
      { text: instant(group.range.to) },
    ]);
  const more = groups.length > SHOWN ? [`… and ${groups.length - SHOWN} more kinds`] : [];
  return [
    ...tableLines(output, ["SERIES", "CHECK", "SEVERITY", "COUNT", "FROM", "TO"], rows),
    ...more,
    "every one of them: --list or --json",
  ];
}

function differencesText({ differences }: Finding): string {
  const parts = differences.map(
    ({ field, actual, expected }) => `${field} ${actual} ≠ ${expected}`,
  );
  return parts.length === 0 ? "" : `: ${parts.join(", ")}`;
}

function outageText({ check, series, range }: Finding): string {
  const known = check === "gaps" ? knownOutageOf(series, range) : undefined;
  return known === undefined ? "" : `; ${known}`;
}

function findingDocument(finding: Finding): object {
  if (finding.check !== "gaps") return finding;
  return { ...finding, knownOutage: knownOutageOf(finding.series, finding.range) ?? null };
}

function certificateLines(output: Output, certificates: readonly Certificate[]): string[] {
  return tableLines(
    output,
    ["CERTIFICATE", "EXPECTED", "PRESENT", "CONFIRMED", "ABSENT", "CLEAN", "SHA-256"],
    certificates.map((one) => [
      { text: seriesLabel(one.series) },
      { text: grouped(one.expectedCount), isRight: true },
      { text: grouped(one.presentCount), isRight: true },
      { text: `${Math.floor(one.confirmedShare * 1_000) / 10} %`, isRight: true },
      {
        text:
          Object.entries(one.absentCounts)
            .map(([reason, count]) => `${grouped(count)} ${reason}`)
            .join(", ") || "-",
      },
      {
        text: one.isClean ? "yes" : "no",
        tone: one.isClean ? ("good" as const) : ("bad" as const),
      },
      { text: one.hash },
    ]),
  );
}
