import { compareVersions, sameValues, type VersionedCandle } from "../core/finality.ts";
import { PackedCandles } from "../core/packed-candles.ts";

/** A candle with the number of its line. */
export interface Offered extends VersionedCandle {
  readonly line: number;
}

/** Two rows of one candle; finality has decided which is taken. */
export interface Duplicate {
  readonly winner: Offered;
  readonly loser: Offered;
  readonly isSame: boolean;
}

/** Rows of a file as they were read, until a part of them is handed over. Knows the newest of the whole file. */
export class OfferedRows {
  readonly packed: PackedCandles;
  readonly #lines: number[] = [];
  /** Rows that lost against another one of their candle. */
  readonly #lost = new Set<number>();
  #newest = -1;
  #newestTime = Number.NEGATIVE_INFINITY;

  /**
   * @param packed where the rows are put; what is in it goes
   * @param newest of the rows before, when it was held back
   */
  constructor(packed: PackedCandles, newest: Offered | undefined) {
    this.packed = packed;
    packed.clear();
    if (newest === undefined) return;
    this.packed.push(newest);
    this.place(newest.line);
  }

  get length(): number {
    return this.packed.length;
  }

  /** Open time of the newest row, −∞ before the first. */
  get newestTime(): number {
    return this.#newestTime;
  }

  get newest(): Offered | undefined {
    return this.#newest < 0 ? undefined : this.#at(this.#newest);
  }

  /**
   * Takes note of the row that was just added to {@link packed}. Of two rows in which the newest candle stands, one goes.
   * @returns these two
   */
  place(line: number): Duplicate | undefined {
    const last = this.packed.length - 1;
    const openTime = this.packed.openTime(last);
    this.#lines[last] = line;
    if (openTime < this.#newestTime) return undefined;
    const before = this.#newest;
    this.#newest = last;
    this.#newestTime = openTime;
    if (before < 0 || this.packed.openTime(before) < openTime) return undefined;
    const duplicate = this.#duplicate(before, last);
    if (duplicate.winner.line === line) this.#lost.add(before);
    else {
      this.#newest = before;
      this.packed.pop();
    }
    return duplicate;
  }

  /** Takes the row away that was just added to {@link packed} and is not placed. */
  drop(): void {
    this.packed.pop();
  }

  /**
   * What is offered of these rows: ascending, each candle once. Most files are in order already, some in the reverse one.
   * @param hasNewest whether the newest row is among them
   * @param onDuplicate told of each row that is left out for another one of its candle
   */
  offered(hasNewest: boolean, onDuplicate: (duplicate: Duplicate) => void): PackedCandles {
    const { packed } = this;
    const isLast = this.#newest === packed.length - 1;
    if (this.#lost.size === 0 && (hasNewest || isLast || this.#newest < 0) && isAscending(packed)) {
      if (!hasNewest && isLast) packed.pop();
      return packed;
    }
    return this.#sorted(hasNewest ? -1 : this.#newest, onDuplicate);
  }

  #sorted(without: number, onDuplicate: (duplicate: Duplicate) => void): PackedCandles {
    const { packed } = this;
    const order: number[] = [];
    for (let index = 0; index < packed.length; index += 1) {
      if (index !== without && !this.#lost.has(index)) order.push(index);
    }
    order.sort((a, b) => packed.openTime(a) - packed.openTime(b));
    const distinct: number[] = [];
    for (const index of order) {
      const last = distinct.at(-1);
      if (last === undefined || packed.openTime(last) < packed.openTime(index)) {
        distinct.push(index);
        continue;
      }
      const duplicate = this.#duplicate(last, index);
      if (duplicate.winner.line === this.#lines[index]) distinct[distinct.length - 1] = index;
      onDuplicate(duplicate);
    }
    const sorted = new PackedCandles(packed.series);
    for (const index of distinct) sorted.pushFrom(packed, index);
    return sorted;
  }

  #duplicate(first: number, second: number): Duplicate {
    const [a, b] = [this.#at(first), this.#at(second)];
    const [winner, loser] = compareVersions(a, b) >= 0 ? [a, b] : [b, a];
    return { winner, loser, isSame: sameValues(a.candle, b.candle) };
  }

  #at(index: number): Offered {
    return { ...this.packed.at(index), line: this.#lines[index] ?? 0 };
  }
}

function isAscending(packed: PackedCandles): boolean {
  for (let index = 1; index < packed.length; index += 1) {
    if (packed.openTime(index) <= packed.openTime(index - 1)) return false;
  }
  return true;
}
