import type { Candle } from "../core/candle.ts";
import { sameValues } from "../core/finality.ts";
import type { CandleQueries } from "../core/ports.ts";
import type { Series } from "../core/series.ts";
import type { MergedRow } from "./own-rows.ts";

/** Replaced versions that are looked at in one go, for telling an old version from somebody's edit. */
const MAX_REVISIONS = 20_000;

/**
 * Judges the rows of a file laid beside the database: how far the file is right as it is, whether the rest can simply be
 * appended, and whether it holds something that neither the database nor an earlier version of it explains.
 */
export class MirrorCheck {
  readonly #store: Pick<CandleQueries, "revisions">;
  readonly #series: Series;
  /** Byte up to which everything is right as it is, and the open time of the last row before it. */
  intactEnd: number;
  intactLast: number | undefined;
  /** Rows that the database does not have. */
  unknownRowCount = 0;
  #isIntact: boolean;
  #hasLinesAfter = false;
  #editedCount = 0;
  #badCount = 0;

  /** @param isOwn false when the header itself has to be written anew */
  constructor(
    store: Pick<CandleQueries, "revisions">,
    series: Series,
    start: number,
    isOwn: boolean,
  ) {
    this.#store = store;
    this.#series = series;
    this.intactEnd = start;
    this.#isIntact = isOwn;
    this.#hasLinesAfter = !isOwn;
  }

  /** Nothing has to be done. */
  get isIntact(): boolean {
    return this.#isIntact;
  }

  /** Nothing has to be done but to take a cut-off line away and append. */
  get isAppendable(): boolean {
    return !this.#hasLinesAfter;
  }

  /** What others have changed, in words. */
  get foreignEdit(): string | undefined {
    const parts = [
      this.#editedCount > 0 ? `${this.#editedCount} row(s) with other values` : "",
      this.#badCount > 0 ? `${this.#badCount} line(s) that are no row or out of order` : "",
    ].filter((part) => part !== "");
    return parts.length === 0 ? undefined : parts.join(", ");
  }

  /** @throws {BlackTradeError} E_DB_* */
  async add(rows: readonly MergedRow[]): Promise<void> {
    const unequal: Extract<MergedRow, { readonly kind: "unequal" }>[] = [];
    for (const row of rows) {
      if (row.kind === "onlyFile") this.unknownRowCount += 1;
      if (row.kind === "unequal") unequal.push(row);
      if (row.kind === "bad" && row.line.text.trim() !== "") this.#badCount += 1;
      this.#place(row);
    }
    this.#editedCount += await this.#unexplained(unequal);
  }

  #place(row: MergedRow): void {
    const isRight = (row.kind === "equal" || row.kind === "onlyFile") && row.line.isEnded;
    if (this.#isIntact && isRight) {
      this.intactEnd = row.line.end;
      this.intactLast = row.kind === "equal" ? row.candle.openTime : row.openTime;
    } else if (!isRight || !this.#isIntact) {
      this.#isIntact = false;
      if (row.kind !== "onlyDatabase" && row.kind !== "torn") this.#hasLinesAfter = true;
    }
  }

  /** How many rows are no earlier version of their candle: nothing that this program ever wrote. */
  async #unexplained(
    rows: readonly Extract<MergedRow, { readonly kind: "unequal" }>[],
  ): Promise<number> {
    const [first, last] = [rows[0], rows.at(-1)];
    if (first === undefined || last === undefined) return 0;
    const range = { from: first.candle.openTime, to: last.candle.openTime + 1 };
    const revisions = await this.#store.revisions(this.#series, range, MAX_REVISIONS);
    const earlier = new Map<number, Candle[]>();
    for (const { replaced } of revisions) {
      const { openTime } = replaced.candle;
      earlier.set(openTime, [...(earlier.get(openTime) ?? []), replaced.candle]);
    }
    return rows.filter(
      ({ inFile, candle }) =>
        inFile === undefined ||
        !earlier.get(candle.openTime)?.some((version) => sameValues(version, inFile)),
    ).length;
  }
}
