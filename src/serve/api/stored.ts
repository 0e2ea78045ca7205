import { z } from "zod";
import type { Gap } from "../../core/gaps.ts";
import type { CoverageDay } from "../../core/ports.ts";
import { intersectRanges, type TimeRange } from "../../core/range.ts";
import { type Series, seriesKey } from "../../core/series.ts";
import { LATENESS_MS } from "../../core/status.ts";
import { countOpenTimes, openTimeAt } from "../../core/timeframe.ts";
import type { ServeParts } from "../parts.ts";
import { HttpProblem } from "../problem.ts";
import { storedDocument } from "./candles.ts";
import { checkedRange, chosenSeries, seriesOf } from "./choose.ts";
import { type ApiRoute, route } from "./route.ts";
import {
  choiceParams,
  countParam,
  countSchema,
  rangeSchema,
  seriesDocument,
  seriesParams,
  seriesSchema,
  storedCandleSchema,
  timeParam,
  timeSchema,
} from "./schemas.ts";

const DAY_MS = 86_400_000;
const FOREVER = Number.MAX_SAFE_INTEGER;
const REASONS = [
  "not-fetched",
  "exchange-had-none",
  "before-listing",
  "after-delisting",
  "rejected",
  "shed",
  "unfinished-in-source",
  "not-kept",
] as const satisfies readonly Gap["reason"][];
const reason = z.enum(REASONS);
const state = z.enum(["open", "confirmed"]);

/** Days × series of one answer, and of one query: where 400 days of 1m have to be counted, they take about two seconds. */
const MAX_CELLS = 50_000;
const CELLS_A_QUERY = 400;
/** Queries of one answer at a time: the others are left to other requests. */
const LANES = 3;
const DEFAULT_DAYS = 90;

export const gapsRoute: ApiRoute = route({
  method: "GET",
  path: "/api/v1/gaps",
  id: "listGaps",
  summary: "What is missing, why, and when it is asked for again",
  query: z.object({
    ...choiceParams,
    from: timeParam.optional(),
    to: timeParam.optional(),
    state: state.optional(),
    limit: countParam(10_000, 1_000),
  }),
  answers: {
    200: {
      description: "Entries of the gap ledger that are not filled, by series, ascending.",
      schema: z.object({
        gaps: z.array(
          z.object({
            series: seriesSchema,
            range: rangeSchema,
            candleCount: countSchema,
            reason,
            state: state.meta({
              description: "`confirmed` = believed, and hardly asked for again.",
            }),
            foundTime: timeSchema,
            emptyAnswers: countSchema,
            nextTryTime: timeSchema,
            knownOutage: z
              .string()
              .optional()
              .meta({ description: "An outage of the exchange that is known by name." }),
          }),
        ),
        isCut: z.boolean().meta({ description: "True when there are more than `limit`." }),
      }),
    },
  },
  handle: async ({ query, parts }) => {
    const { from = 0, to = FOREVER } = query;
    const range = checkedRange(from, to);
    const series = await chosenSeries(parts, query);
    const all = await inLanes(series, (one) => parts.queries.gaps(one));
    const gaps = all
      .flat()
      .filter((gap) => intersectRanges(gap.range, range) !== undefined)
      .filter((gap) => query.state === undefined || gap.state === query.state);
    return {
      gaps: gaps.slice(0, query.limit).map((gap) => gapDocument(parts, gap)),
      isCut: gaps.length > query.limit,
    };
  },
});

function gapDocument(parts: ServeParts, gap: Gap): object {
  const { series, range, state: word, foundTime, emptyAnswers, nextTryTime } = gap;
  const knownOutage = parts.knownOutage(series, range);
  return {
    series: seriesDocument(series),
    range,
    candleCount: countOpenTimes(series.timeframe, range),
    reason: gap.reason,
    state: word,
    ...{ foundTime, emptyAnswers, nextTryTime },
    ...(knownOutage === undefined ? {} : { knownOutage }),
  };
}

const dayParams = {
  ...choiceParams,
  from: timeParam.optional(),
  to: timeParam.optional(),
};

export const coverageRoute: ApiRoute = route({
  method: "GET",
  path: "/api/v1/coverage",
  id: "getCoverage",
  summary: "What is stored of each UTC day of each series",
  description: `The last ${DEFAULT_DAYS} days when no range is given; the edges are widened to whole days. Days in which no candle is wanted are left out.`,
  query: z.object(dayParams),
  answers: {
    200: {
      description: "By series, then day.",
      schema: z.object({
        range: rangeSchema,
        series: z.array(
          z.object({
            series: seriesSchema,
            days: z.array(
              z
                .object({
                  day: z.iso.date(),
                  state: z
                    .enum(["complete", "confirmed", "outage", "absent", "gap", "future"])
                    .meta({
                      description:
                        "`confirmed` = complete, and an archive or settled REST vouches for all of it; `complete` = every candle that is due is stored; `outage` = what is missing the exchange had none of; `absent` = before listing, after delisting, or older than what is kept; `gap` = something is to be fetched, or missing without a reason; `future` = nothing is due yet.",
                    }),
                  expectedCount: countSchema.meta({
                    description:
                      "Wanted candles that have closed by now, by the calendar; one that closed in the last seconds counts from when it is stored.",
                  }),
                  storedCount: countSchema,
                  confirmedCount: countSchema,
                  absent: z.array(z.object({ reason, state, count: countSchema })),
                })
                .meta({ id: "CoverageDay" }),
            ),
          }),
        ),
      }),
    },
  },
  handle: async ({ query, parts }) => {
    const { range, days } = await daysOf(parts, query);
    const groups = Map.groupBy(days, ({ series }) => seriesKey(series));
    return {
      range,
      series: [...groups.values()].flatMap((its) => {
        const [first] = its;
        if (first === undefined) return [];
        return [
          {
            series: seriesDocument(first.series),
            days: its.map((day) => dayDocument(day, parts.now())),
          },
        ];
      }),
    };
  },
});

export const verificationRoute: ApiRoute = route({
  method: "GET",
  path: "/api/v1/verification",
  id: "getVerification",
  summary: "How much of what is stored is vouched for, and what the last check found",
  description:
    "Counts come from the coverage of the days of the range. Certificates are those of the last `verify` job of this process.",
  query: z.object(dayParams),
  answers: {
    200: {
      description: "By series.",
      schema: z.object({
        range: rangeSchema,
        series: z.array(
          z.object({
            series: seriesSchema,
            expectedCount: countSchema,
            storedCount: countSchema,
            confirmedCount: countSchema,
            confirmedShare: z
              .number()
              .min(0)
              .max(1)
              .nullable()
              .meta({ description: "Of what is stored; null when nothing is." }),
            openGapCandles: countSchema,
            explainedCandles: countSchema.meta({
              description: "Missing, with a confirmed reason.",
            }),
            certificate: z
              .object({
                range: rangeSchema,
                checkedTime: timeSchema,
                isClean: z.boolean(),
                rowCount: countSchema,
                confirmedShare: z.number(),
                findingCounts: z.object({
                  info: countSchema,
                  suspect: countSchema,
                  wrong: countSchema,
                }),
                hash: z.string().meta({
                  description: "Equal for two installations with equal data in the range.",
                }),
              })
              .optional(),
          }),
        ),
      }),
    },
  },
  handle: async ({ query, parts }) => {
    const { range, days } = await daysOf(parts, query);
    const now = parts.now();
    const groups = Map.groupBy(days, ({ series }) => seriesKey(series));
    return {
      range,
      series: [...groups.values()].flatMap((its) => {
        const [first] = its;
        if (first === undefined) return [];
        const sum = (pick: (day: CoverageDay) => number): number =>
          its.reduce((total, day) => total + pick(day), 0);
        const storedCount = sum((day) => day.storedCount);
        const confirmedCount = sum((day) => day.confirmedCount);
        const certificate = parts.jobs.certificateOf(first.series);
        return [
          {
            series: seriesDocument(first.series),
            expectedCount: sum((day) => dueCountOf(day, now)),
            storedCount,
            confirmedCount,
            confirmedShare: storedCount === 0 ? null : confirmedCount / storedCount,
            openGapCandles: sum((day) => absentCount(day, "open")),
            explainedCandles: sum((day) => absentCount(day, "confirmed")),
            ...(certificate === undefined ? {} : { certificate }),
          },
        ];
      }),
    };
  },
});

export const revisionsRoute: ApiRoute = route({
  method: "GET",
  path: "/api/v1/revisions",
  id: "listRevisions",
  summary: "Versions of candles that were replaced by another",
  query: z.object({
    ...seriesParams,
    from: timeParam.optional(),
    to: timeParam.optional(),
    limit: countParam(10_000, 1_000),
  }),
  answers: {
    200: {
      description: "By open time, then oldest first.",
      schema: z.object({
        series: seriesSchema,
        revisions: z.array(
          z.object({
            replaced: storedCandleSchema,
            replacedBy: storedCandleSchema.pick({ source: true, observedTime: true }),
            replacedTime: timeSchema,
          }),
        ),
        isCut: z.boolean(),
      }),
    },
  },
  handle: async ({ query, parts }) => {
    const series = await seriesOf(parts, query);
    const range = checkedRange(query.from ?? 0, query.to ?? FOREVER);
    const rows = await parts.queries.revisions(series, range, query.limit + 1);
    return {
      series: seriesDocument(series),
      revisions: rows.slice(0, query.limit).map(({ replaced, replacedBy, replacedTime }) => ({
        replaced: storedDocument(replaced),
        replacedBy: { source: replacedBy.source, observedTime: replacedBy.observedTime },
        replacedTime,
      })),
      isCut: rows.length > query.limit,
    };
  },
});

/** Days of the chosen series, in pieces, so that no query takes long. */
async function daysOf(
  parts: ServeParts,
  query: Parameters<typeof chosenSeries>[1] & {
    readonly from?: number | undefined;
    readonly to?: number | undefined;
  },
): Promise<{ range: { from: number; to: number }; days: CoverageDay[] }> {
  const to = Math.ceil((query.to ?? parts.now()) / DAY_MS) * DAY_MS;
  const from = Math.floor((query.from ?? to - DEFAULT_DAYS * DAY_MS) / DAY_MS) * DAY_MS;
  const range = checkedRange(from, to);
  const series = await chosenSeries(parts, query);
  const cells = ((to - from) / DAY_MS) * series.length;
  if (cells > MAX_CELLS) {
    throw new HttpProblem(
      "E_HTTP_REQUEST",
      `${series.length} series × ${(to - from) / DAY_MS} days are more than ${MAX_CELLS} at once`,
      { remedy: "Ask for fewer series (symbols, timeframes) or days (from, to) at a time." },
    );
  }
  const dayCount = (to - from) / DAY_MS;
  const seriesAQuery = Math.max(1, Math.floor(CELLS_A_QUERY / dayCount));
  const daysAQuery = Math.min(dayCount, CELLS_A_QUERY);
  const pieces: { its: readonly Series[]; part: TimeRange }[] = [];
  for (let index = 0; index < series.length; index += seriesAQuery) {
    for (let start = from; start < to; start += daysAQuery * DAY_MS) {
      const part = { from: start, to: Math.min(to, start + daysAQuery * DAY_MS) };
      pieces.push({ its: series.slice(index, index + seriesAQuery), part });
    }
  }
  const days = await inLanes(pieces, ({ its, part }) => parts.queries.coverageDays(its, part));
  return { range, days: days.flat() };
}

/** Does a piece of work for each, a few at a time, so that one answer leaves places to other requests. @returns in order */
async function inLanes<One, Result>(
  all: readonly One[],
  work: (one: One) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const queue = all.entries();
  const lane = async (): Promise<void> => {
    // One iterator for all lanes: each takes the next that nobody has taken.
    for (const [index, one] of queue) results[index] = await work(one);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return results;
}

function dayDocument(day: CoverageDay, now: number): object {
  const { dayTime, storedCount, confirmedCount, absent } = day;
  return {
    day: new Date(dayTime).toISOString().slice(0, 10),
    state: stateOf(day, now),
    expectedCount: dueCountOf(day, now),
    ...{ storedCount, confirmedCount, absent },
  };
}

function stateOf(day: CoverageDay, now: number): string {
  const due = dueCountOf(day, now);
  const explained = absentCount(day, "confirmed");
  if (due === 0 && day.storedCount === 0) return "future";
  const unlisted = day.absent
    .filter((one) => one.state === "confirmed" && /listing$|^not-kept$/.test(one.reason))
    .reduce((sum, { count }) => sum + count, 0);
  if (absentCount(day, "open") > 0 || day.storedCount + explained < due) return "gap";
  if (explained > unlisted) return "outage";
  const isRemoved = day.absent.some(({ reason: word }) => word === "not-kept");
  if (explained > 0 && (day.storedCount === 0 || isRemoved)) return "absent";
  return day.confirmedCount === day.storedCount ? "confirmed" : "complete";
}

function absentCount({ absent }: CoverageDay, word: Gap["state"]): number {
  return absent.reduce((sum, one) => sum + (one.state === word ? one.count : 0), 0);
}

/**
 * Wanted candles of the day that have closed by now. The newest may be on its way: it counts once it is there, or when it
 * is as late as the status begins to say so.
 */
function dueCountOf(day: CoverageDay, now: number): number {
  const known = day.storedCount + absentCount(day, "open") + absentCount(day, "confirmed");
  return Math.min(closedCountOf(day, now), Math.max(closedCountOf(day, now - LATENESS_MS), known));
}

function closedCountOf({ series, wanted }: CoverageDay, now: number): number {
  const to = Math.min(wanted.to, openTimeAt(series.timeframe, now));
  return countOpenTimes(series.timeframe, { from: wanted.from, to });
}
