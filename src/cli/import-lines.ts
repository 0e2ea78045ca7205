import type { ImportCounts } from "../core/ports.ts";
import { type Series, seriesLabel } from "../core/series.ts";
import type { FileReport, ImportReport } from "../csv/import.ts";
import { MAX_COMPARED_ROWS } from "../csv/unfinished.ts";
import { EXCHANGE } from "../exchanges/binance/index.ts";
import { type Cell, duration, type Output, printable, tableLines } from "./output.ts";
import { grouped } from "./progress.ts";

const SHOWN_NOTES = 5;
const SHOWN_SERIES = 40;

/** What stands in the table of a series, and how much of it the exchange vouches for. */
export interface Confirmed {
  readonly series: Series;
  readonly total: number;
  readonly confirmed: number;
}

/** What people are shown of an import. */
export function reportLines(
  output: Output,
  report: ImportReport,
  missing: number,
  confirmed: readonly Confirmed[],
  isDry: boolean,
): string[] {
  const { files, counts, elapsedMs } = report;
  const rate = elapsedMs > 0 ? Math.round((counts.row / elapsedMs) * 1_000) : 0;
  const table = tableLines(
    output,
    [
      "FILE",
      "SERIES",
      "LAYOUT",
      "ROWS",
      isDry ? "SOUND" : "STORED",
      "SAME",
      "OLDER",
      "REFUSED",
      "HELD",
      "STATE",
    ],
    files.filter(({ state }) => state !== "skipped").map(fileCells),
  );
  const total = isDry
    ? `${grouped(counts.row)} rows read in ${duration(elapsedMs)}, nothing stored (--dry-run)`
    : `${grouped(counts.row)} rows = ${grouped(stored(counts))} stored (${grouped(counts.revised)} of them in place of an older version) + ` +
      `${grouped(counts.identical)} identical + ${grouped(counts.superseded)} superseded + ${grouped(counts.refused)} refused + ` +
      `${grouped(counts.heldBack)} held back; ${duration(elapsedMs)} (${grouped(rate)}/s)`;
  const unchanged = files.filter(({ state }) => state === "unchanged").length;
  return [
    ...table,
    ...files.flatMap(noteLines),
    total,
    ...(unchanged === 0
      ? []
      : [
          `${grouped(unchanged)} of the files did not change since they were imported, and were not read again (--again)`,
        ]),
    ...(isDry ? [] : heldBackLines(files)),
    ...(missing === 0
      ? []
      : [
          `${grouped(missing)} candles are missing between those that are stored; they are in the gap ledger, "ingest" or "fill-gaps" fetches them`,
        ]),
    ...report.uncompared.map(
      (folder) =>
        `${printable(folder)} has more than ${grouped(MAX_COMPARED_ROWS)} rows: its timeframes were not compared with each other; "verify" does it`,
    ),
    ...confirmedLines(output, confirmed),
  ];
}

function fileCells({ file, series, layout, counts, state, reason }: FileReport): Cell[] {
  const number = (value: number): Cell => ({ text: grouped(value), isRight: true });
  const isBad = state === "refused" || state === "partial";
  return [
    { text: file },
    { text: series === undefined ? "-" : labelOf(series) },
    { text: layout ?? "-" },
    number(counts.row),
    number(stored(counts)),
    number(counts.identical),
    number(counts.superseded),
    { ...number(counts.refused), tone: counts.refused > 0 ? "bad" : "plain" },
    number(counts.heldBack),
    {
      text: reason === undefined ? state : `${state}: ${reason}`,
      tone: isBad ? "bad" : state === "unchanged" ? "dim" : "good",
    },
  ];
}

/** What a user should see of a file beside its counts: the first refusals, doubles, assumptions. */
function noteLines({ file, state, reason, notes, noteCounts, assumptions }: FileReport): string[] {
  const name = printable(file);
  if (state === "skipped") return [`${name}: skipped, ${reason}`];
  const shown = notes.filter(({ code }) => code !== "held-back").slice(0, SHOWN_NOTES);
  const count = Object.entries(noteCounts)
    .filter(([code]) => code !== "held-back")
    .reduce((sum, [, value]) => sum + value, 0);
  const more =
    count > shown.length
      ? [`${name}: … and ${grouped(count - shown.length)} more; all of them: --refusals FILE`]
      : [];
  return [
    ...assumptions.map((text) => `${name}: ${text}`),
    ...shown.map(({ line, code, detail }) => `${name}:${line}: ${code}: ${printable(detail)}`),
    ...more,
    ...OTHER_SERIES.filter(([code]) => (noteCounts[code] ?? 0) > 0).map(
      ([code, flag]) =>
        `${name}: ${grouped(noteCounts[code] ?? 0)} rows of another ${code}; import the file once more with ${flag} for them`,
    ),
  ];
}

/** Rows that are refused because the file holds another series than the one that was read, and what chooses it. */
const OTHER_SERIES = [
  ["symbol", "--symbol"],
  ["timeframe", "--timeframe"],
] as const;

/** Only Binance is asked for what is missing: what other origins lack stays so unless their files are known to be closed. */
function heldBackLines(files: readonly FileReport[]): string[] {
  const held = files.filter(({ counts, state }) => counts.heldBack > 0 && state !== "unchanged");
  const isOther = ({ series }: FileReport): boolean => series?.exchange !== EXCHANGE;
  const why = "held back: candles that may not have been closed when they were saved";
  return [
    ...(held.every(isOther)
      ? []
      : [`${why}; they are in the gap ledger, "ingest" or "fill-gaps" fetches them`]),
    ...(held.some(isOther)
      ? [
          `${why}; of other exchanges than ${EXCHANGE} none is fetched: --closed takes them from files that are known to hold closed candles only`,
        ]
      : []),
  ];
}

/** What stands in the table of each series now, and how much of it the exchange vouches for. */
function confirmedLines(output: Output, confirmed: readonly Confirmed[]): string[] {
  if (confirmed.length === 0) return [];
  const number = (value: number): Cell => ({ text: grouped(value), isRight: true });
  const rows = confirmed
    .slice(0, SHOWN_SERIES)
    .map(({ series, total, confirmed: count }) => [
      { text: labelOf(series) },
      ...[number(total), number(count), number(total - count)],
    ]);
  const more = confirmed.length - rows.length;
  return [
    "",
    ...tableLines(output, ["SERIES", "IN DATABASE", "CONFIRMED", "ONLY IMPORTED"], rows),
    ...(more > 0 ? [`… and ${grouped(more)} more series`] : []),
    ...(confirmed.some(
      ({ series, total, confirmed: count }) => series.exchange === EXCHANGE && count < total,
    )
      ? [
          `"ingest" confirms what was only imported in the background, for the series it is configured for; "verify --against-exchange --repair" does it at once`,
        ]
      : []),
  ];
}

function labelOf(series: Series): string {
  const label = seriesLabel(series);
  return printable(series.exchange === EXCHANGE ? label : `${series.exchange} ${label}`);
}

/** In the report, what took the place of an older version is stored, too. */
function stored(counts: ImportCounts): number {
  return counts.stored + counts.revised;
}

/** The same as one document. */
export function documentOf(
  { files, counts, ...rest }: ImportReport,
  missing: number,
  confirmed: readonly Confirmed[],
  isDry: boolean,
): object {
  const shownCounts = (one: ImportCounts): object => ({ ...one, stored: stored(one) });
  return {
    isDryRun: isDry,
    ...{ elapsedMs: rest.elapsedMs, isWhole: rest.isWhole, uncompared: rest.uncompared, missing },
    counts: shownCounts(counts),
    files: files.map((file) => ({ ...file, counts: shownCounts(file.counts) })),
    series: confirmed.map(({ series, total, confirmed: count }) => ({
      ...{ ...series, candles: total, confirmed: count, onlyImported: total - count },
    })),
  };
}
