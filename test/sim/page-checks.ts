import type { HistoryPage, HistorySource } from "../../src/core/ports.ts";
import type { Series } from "../../src/core/series.ts";
import { ceilOpenTime, nextOpenTime } from "../../src/core/timeframe.ts";
import type { Journal } from "./journal.ts";
import { nameOf } from "./table-view.ts";
import type { Timeline } from "./timeline.ts";

/**
 * R6 at every page: a page says "the exchange has these rows in this stretch and no others". Each such certificate is held
 * against what the exchange was really asked and answered since the page was asked for.
 */
export class PageChecks {
  readonly #timeline: Timeline;
  readonly #journal: Journal;

  constructor(timeline: Timeline, journal: Journal) {
    this.#timeline = timeline;
    this.#journal = journal;
  }

  /** The same source, each of its pages checked before the program has it. */
  watch<Source extends HistorySource>(source: Source): Source {
    const check = this.#check.bind(this);
    const now = (): number => this.#timeline.now;
    return new Proxy(source, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member !== "function") return member;
        if (name !== "candles") return member.bind(target);
        return async function* (...args: Parameters<HistorySource["candles"]>) {
          const since = now();
          for await (const page of target.candles(...args)) {
            check(args[0], page, since);
            yield page;
          }
        };
      },
    });
  }

  #check(series: Series, { range, rows }: HistoryPage, since: number): void {
    const { timeframe } = series;
    this.#journal.count("pages checked");
    const present = new Set(rows.map(({ openTime }) => openTime));
    let open = ceilOpenTime(timeframe, range.from);
    for (; open < range.to; open = nextOpenTime(timeframe, open)) {
      if (present.has(open)) continue;
      // A row that is missing in a certified stretch: then the exchange has answered that it has none.
      const answers = this.#journal.emptyAnswers(series, open);
      if (answers === undefined || answers.lastTime < since) {
        const what = `${nameOf(series, open)} passes for absent, and no answer said so`;
        this.#journal.fail("R6 not covered", this.#timeline.now, what);
        return;
      }
    }
    const strange = rows.find(
      (row) => (this.#journal.lastReads(series, row.openTime) ?? 0) < since,
    );
    if (strange !== undefined) {
      const what = `${nameOf(series, strange.openTime)} was never in an answer`;
      this.#journal.fail("R6 not covered", this.#timeline.now, what);
    }
  }
}
