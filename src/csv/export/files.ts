import { open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileError } from "../../core/file-fault.ts";
import type { Series } from "../../core/series.ts";
import { makeFolder } from "../../make-folder.ts";
import { ownFileName } from "../own-layout.ts";
import { EXPORT_FORMATS, type ExportFormat } from "./encode.ts";

/**
 * Path of a series below a folder. CSV: the own layout, `BTCUSDT_1m.csv`, which `import-csv` reads. Else partitions as Hive,
 * DuckDB, Polars and Arrow know them: `exchange=binance/symbol=BTCUSDT/timeframe=1m/BTCUSDT_1m.parquet`. A month is `1mo`, as
 * `1m` and `1M` are one name where names differ by more than case only.
 */
export function partitionPath(series: Series, format: ExportFormat): string {
  const name = ownFileName(series);
  if (format === "csv") return name;
  const timeframe = series.timeframe === "1M" ? "1mo" : series.timeframe;
  return join(
    `exchange=${safe(series.exchange)}`,
    `symbol=${safe(series.symbol)}`,
    `timeframe=${timeframe}`,
    `${name.slice(0, -".csv".length)}.${EXPORT_FORMATS[format].extension}`,
  );
}

/** Percent-encoded, as Hive does; a name never leaves its folder. */
function safe(text: string): string {
  const encoded = encodeURIComponent(text).replace(
    /[!'()*~]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return /^\.+$/.test(encoded) ? encoded.replaceAll(".", "%2E") : encoded;
}

/**
 * Writes a file that is there as a whole or not at all: under another name first, then renamed. What failed or was stopped
 * leaves nothing behind.
 * @returns its size in bytes
 * @throws {BlackTradeError} E_FILE when the file system refuses; what `chunks` throws
 */
export async function writeWhole(path: string, chunks: AsyncIterable<Uint8Array>): Promise<number> {
  const folder = dirname(path);
  await makeFolder(folder).catch((error: unknown) => {
    throw fileError(error, folder) ?? error;
  });
  const temporary = `${path}.${process.pid}.tmp`;
  let size = 0;
  try {
    // A link of that name, whoever put it there, is not written through.
    await rm(temporary, { force: true });
    const file = await open(temporary, "wx");
    try {
      for await (const chunk of chunks) {
        await file.writeFile(chunk);
        size += chunk.length;
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    return size;
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw fileError(error, path) ?? error;
  }
}
