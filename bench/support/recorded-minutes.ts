import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { sharedDataFolder } from "../../test/support/shared-data.ts";
import { runCommand } from "./command.ts";

const ARCHIVE = "perf/freqtrade_1m_spot_2021-04-02_05-14_13pairs.tar.xz";
const MADE_ROWS = 1_000_000;
const MINUTE_MS = 60_000;
/** Open time of the first made row. */
const FROM = Date.UTC(2021, 0, 1);

/** Six-column CSV files of recorded minutes, one a symbol; made ones where there are none. */
export async function writeRecordedMinutes(
  folder: string,
): Promise<{ files: string[]; rowCount: number; isRecorded: boolean }> {
  const recorded = sharedDataFolder();
  await mkdir(folder, { recursive: true });
  let rowCount = 0;
  const write = async (symbol: string, rows: readonly (readonly unknown[])[]): Promise<void> => {
    rowCount += rows.length;
    const lines = rows.map((row) => row.join(","));
    const text = `timestamp,open,high,low,close,volume\n${lines.join("\n")}\n`;
    await writeFile(join(folder, `${symbol}_1m.csv`), text);
  };
  if (recorded === undefined) {
    await write(
      "MADEUSDT",
      Array.from({ length: MADE_ROWS }, (_, index) => madeRow(index)),
    );
  } else {
    const unpacked = join(folder, "../json");
    await mkdir(unpacked, { recursive: true });
    await runCommand("tar", ["xJf", join(recorded, ARCHIVE), "-C", unpacked]);
    for (const name of await readdir(unpacked)) {
      const text = await readFile(join(unpacked, name), "utf8");
      // The text of the numbers is kept: what JSON.parse makes of them is a float.
      const rows = [...text.matchAll(/\[([^[\]]+)\]/g)].map(([, row = ""]) => row.split(/,\s*/));
      await write(basename(name, "-1m.json").replace("_", ""), rows);
    }
  }
  const files = (await readdir(folder)).map((name) => join(folder, name));
  return { files, rowCount, isRecorded: recorded !== undefined };
}

/** A made minute: open time and five decimals. */
function madeRow(index: number): (number | string)[] {
  const price = 60_000 + (index % 997) * 0.13;
  const text = (value: number): string => value.toFixed(2);
  const volume = ((index % 7_919) / 31).toFixed(6);
  return [
    FROM + index * MINUTE_MS,
    text(price),
    text(price + 9),
    text(price - 9),
    text(price + 1),
    volume,
  ];
}

/**
 * Writes made candles of 1s, until the file is so large. Seconds: minutes of five gigabytes would reach beyond today.
 * @param moreColumns columns that nobody asks for, as chart programs export, so that a large file does not make a larger table
 * @returns how many rows
 */
export async function writeMadeSeconds(
  path: string,
  bytes: number,
  moreColumns: number,
): Promise<number> {
  const stream = createWriteStream(path);
  const more = Array.from({ length: moreColumns }, (_, index) => index);
  const names = more.map((index) => `,i${index}`).join("");
  const values = more.map((index) => `,${60_000 + index}.${index}12345678`).join("");
  stream.write(`timestamp,open,high,low,close,volume${names}\n`);
  let written = 0;
  let row = 0;
  while (written < bytes) {
    const lines: string[] = [];
    for (let index = 0; index < 10_000; index += 1, row += 1) {
      const [, ...decimals] = madeRow(row);
      lines.push(`${FROM + row * 1_000},${decimals.join(",")}${values}`);
    }
    const text = `${lines.join("\n")}\n`;
    written += text.length;
    if (!stream.write(text)) await once(stream, "drain");
  }
  stream.end();
  await once(stream, "finish");
  return row;
}
