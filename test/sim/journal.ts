import type { Candle } from "../../src/core/candle.ts";
import type { Series } from "../../src/core/series.ts";
import { keyOf, textOf } from "./market.ts";

/** A promise that was seen broken. */
export interface Violation {
  /** Which check saw it: `R3 unclosed`, `R9 ban`, … */
  readonly oracle: string;
  readonly time: number;
  readonly detail: string;
}

/** What an empty place in answers of REST looked like. */
export interface EmptyAnswers {
  firstTime: number;
  lastTime: number;
  count: number;
}

/**
 * What the exchange did, written down by the exchange: the checks compare the program with this and never with what the
 * program believes.
 */
export class Journal {
  /** Texts of every closed version that was served, by candle. */
  readonly #closed = new Map<string, Set<string>>();
  /** Answers in which an existing place was asked for and had no candle. */
  readonly #empty = new Map<string, EmptyAnswers>();
  readonly #reads = new Map<string, number>();
  /** Versions that came in files whose bytes are proved. */
  readonly #vouched = new Set<string>();
  /** How often things happened that a run has to show. */
  readonly counts = new Map<string, number>();
  #violation: Violation | undefined;
  /** End of the hold that the program was told of, and when it was told; exchange time. */
  toldUntil = 0;
  toldAt = 0;
  /** The same of the archive's host, which is another one. */
  archiveToldUntil = 0;
  archiveToldAt = 0;

  /** The first promise that was broken. */
  get violation(): Violation | undefined {
    return this.#violation;
  }

  fail(oracle: string, time: number, detail: string): void {
    this.#violation ??= { oracle, time, detail };
  }

  /** Counts something that the run has to show. */
  count(what: string, by = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by);
  }

  /** A closed version left the exchange. */
  served(series: Series, candle: Candle): void {
    const key = keyOf(series, candle.openTime);
    const texts = this.#closed.get(key);
    if (texts === undefined) this.#closed.set(key, new Set([textOf(candle)]));
    else texts.add(textOf(candle));
  }

  wasServed(series: Series, candle: Candle): boolean {
    return this.#closed.get(keyOf(series, candle.openTime))?.has(textOf(candle)) ?? false;
  }

  /** A file that held the version went out with a checksum that fits. */
  vouched(series: Series, candle: Candle): void {
    this.#vouched.add(`${keyOf(series, candle.openTime)} ${textOf(candle)}`);
  }

  wasVouched(series: Series, candle: Candle): boolean {
    return this.#vouched.has(`${keyOf(series, candle.openTime)} ${textOf(candle)}`);
  }

  /** An answer covered the place and had no candle for it. */
  answeredEmpty(series: Series, openTime: number, time: number): void {
    const key = keyOf(series, openTime);
    const known = this.#empty.get(key);
    if (known === undefined) this.#empty.set(key, { firstTime: time, lastTime: time, count: 1 });
    else {
      known.lastTime = time;
      known.count += 1;
    }
  }

  /** A sound answer covered the place, with or without a candle. */
  read(series: Series, openTime: number, time: number): void {
    this.#reads.set(keyOf(series, openTime), time);
  }

  /** When the place was covered by a sound answer for the last time. */
  lastReads(series: Series, openTime: number): number | undefined {
    return this.#reads.get(keyOf(series, openTime));
  }

  emptyAnswers(series: Series, openTime: number): EmptyAnswers | undefined {
    return this.#empty.get(keyOf(series, openTime));
  }
}
