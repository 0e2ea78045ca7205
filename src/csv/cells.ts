import { parse } from "csv-parse/sync";

/** The end of a line is told, for looking for it in a long cell takes longer than all the rest. */
const OF_ONE_LINE = { record_delimiter: "\n", relax_column_count: true, bom: false };

/**
 * Cells of a line. A line without quotes is cut at the delimiter, which is what a CSV parser does with it; a test holds
 * the two against each other. A quoted cell never reaches over a line's end: a stray quote costs its line, not the file.
 * @returns `undefined` when quotes do not pair
 */
export function cellsOf(line: string, delimiter: string): readonly string[] | undefined {
  if (!line.includes('"')) return line.split(delimiter);
  try {
    const [cells] = parse(line, { ...OF_ONE_LINE, delimiter }) as string[][];
    return cells;
  } catch {
    return undefined;
  }
}
