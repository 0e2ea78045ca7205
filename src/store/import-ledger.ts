import type { ImportCounts, ImportedFile } from "../core/ports.ts";
import type { Timeframe } from "../core/timeframe.ts";
import type { Executor } from "./database.ts";

interface ImportRow extends ImportCounts {
  readonly file: string;
  readonly fingerprint: string;
  readonly settings: string;
  readonly layout: string;
  readonly exchange: string;
  readonly symbol: string;
  readonly timeframe: Timeframe;
  readonly isFinished: boolean;
  readonly progress: string;
}

const SELECT = `
  select
    file, fingerprint, settings, layout, exchange, symbol, timeframe, is_finished as "isFinished",
    row_count as row, stored_count as stored, revised_count as revised, identical_count as identical,
    superseded_count as superseded, refused_count as refused, held_back_count as "heldBack", progress
  from csv_imports`;

const SAVE = `
  insert into csv_imports (
    file, fingerprint, settings, layout, exchange, symbol, timeframe, is_finished, row_count, stored_count,
    revised_count, identical_count, superseded_count, refused_count, held_back_count, progress
  ) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
  on conflict (file) do update set
    fingerprint = excluded.fingerprint, settings = excluded.settings, layout = excluded.layout,
    exchange = excluded.exchange, symbol = excluded.symbol, timeframe = excluded.timeframe,
    is_finished = excluded.is_finished, row_count = excluded.row_count, stored_count = excluded.stored_count,
    revised_count = excluded.revised_count, identical_count = excluded.identical_count,
    superseded_count = excluded.superseded_count, refused_count = excluded.refused_count,
    held_back_count = excluded.held_back_count, progress = excluded.progress, updated_at = clock_timestamp()`;

/** What is known of a file. @throws {BlackTradeError} E_DB_* */
export async function readImport(
  executor: Executor,
  file: string,
): Promise<ImportedFile | undefined> {
  const [row] = await executor.run<ImportRow>({
    name: "read-import",
    text: `${SELECT} where file = $1`,
    values: [file],
  });
  return row && importOf(row);
}

/** Notes how far a file is read. @throws {BlackTradeError} E_DB_* */
export async function saveImport(tx: Executor, file: ImportedFile): Promise<void> {
  const { exchange, symbol, timeframe } = file.series;
  const { counts } = file;
  await tx.run({
    name: "save-import",
    text: SAVE,
    values: [
      ...[file.file, file.fingerprint, file.settings, file.layout, exchange, symbol, timeframe],
      ...[file.isFinished, counts.row, counts.stored, counts.revised, counts.identical],
      ...[counts.superseded, counts.refused, counts.heldBack, file.progress],
    ],
  });
}

function importOf(row: ImportRow): ImportedFile {
  const { file, fingerprint, settings, layout, isFinished, progress } = row;
  const { stored, revised, identical, superseded, refused, heldBack } = row;
  return {
    ...{ file, fingerprint, settings, layout, isFinished, progress },
    series: { exchange: row.exchange, symbol: row.symbol, timeframe: row.timeframe },
    counts: { row: row.row, stored, revised, identical, superseded, refused, heldBack },
  };
}
