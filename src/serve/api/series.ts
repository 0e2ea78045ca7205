import { z } from "zod";
import { ERRORS, type ErrorCode } from "../../core/errors.ts";
import { seriesKey } from "../../core/series.ts";
import { mostUrgentFirst, type StatusWord } from "../../core/status.ts";
import { HttpProblem, statusOf } from "../problem.ts";
import { onceOf } from "../shared-answer.ts";
import type { SeriesView, StatusView } from "../status-reader.ts";
import { type ApiRoute, route } from "./route.ts";
import { countParam, countSchema, seriesDocument, seriesSchema, timeSchema } from "./schemas.ts";

/** More than the exchange has. */
const MAX_SERIES = 100_000;
const WORDS = [
  "starting",
  "backfilling",
  "active",
  "lagging",
  "gap",
  "stale",
  "banned",
  "halted",
  "paused",
  "error",
] as const satisfies readonly StatusWord[];
const word = z.enum(WORDS);

const runSchema = z
  .object({
    host: z.string(),
    pid: countSchema,
    mode: z.enum(["websocket", "polling"]),
    startedTime: timeSchema,
    heartbeatTime: timeSchema,
    stoppedTime: timeSchema.optional(),
    bannedUntilTime: timeSchema.optional(),
    now: timeSchema,
  })
  .meta({ id: "Run", description: "The current or last run of the ingester." });

/** Status of one series, as `/status` and the events show it. */
const seriesStatusSchema = z
  .object({
    series: seriesSchema,
    status: word,
    reason: z.string().meta({ description: "One line in plain words; empty for a plain active." }),
    lagMs: z.number().optional(),
    latencyMs: z.number().optional(),
    isStreamed: z.boolean(),
    isCatchingUp: z.boolean(),
    newestOpenTime: timeSchema.optional(),
    wantedFrom: timeSchema.optional(),
    completeTo: timeSchema
      .optional()
      .meta({ description: "Every candle before this is stored, or in the gap ledger." }),
    confirmedTo: timeSchema.optional(),
    openGapCount: countSchema,
    confirmedGapCount: countSchema,
  })
  .meta({ id: "SeriesStatus" });

/** {@link seriesStatusSchema} of what the status reader gave. */
export function statusDocument({ series, facts, status }: SeriesView): object {
  const { next, isStreamed, isCatchingUp, openGapCount, confirmedGapCount } = facts;
  return {
    series: seriesDocument(series),
    status: status.word,
    reason: status.reason,
    lagMs: status.lagMs,
    latencyMs: facts.latencyMs,
    isStreamed,
    isCatchingUp,
    newestOpenTime: facts.newestOpenTime,
    wantedFrom: facts.wantedFrom,
    completeTo: next,
    confirmedTo: facts.confirmedTo,
    openGapCount,
    confirmedGapCount,
  };
}

export const seriesRoute: ApiRoute = route({
  method: "GET",
  path: "/api/v1/series",
  id: "listSeries",
  summary: "Every series that there is, with how far it reaches",
  answers: {
    200: {
      description: "All series, by exchange, symbol and timeframe.",
      schema: z.object({
        series: z.array(
          seriesSchema.extend({
            isConfigured: z
              .boolean()
              .meta({ description: "True when the current or last run ingests it." }),
            firstOpenTime: timeSchema.optional(),
            newestOpenTime: timeSchema.optional(),
          }),
        ),
      }),
    },
  },
  handle: async ({ parts }) => {
    const [overview, view] = await Promise.all([parts.queries.overview(), parts.readStatus()]);
    const configured = new Set(
      view.isKnown ? view.series.map(({ series }) => seriesKey(series)) : [],
    );
    return {
      series: overview.map(({ series, ...reach }) => ({
        ...seriesDocument(series),
        isConfigured: configured.has(seriesKey(series)),
        ...reach,
      })),
    };
  },
});

export const statusRoute: ApiRoute = route({
  method: "GET",
  path: "/api/v1/status",
  id: "getStatus",
  summary: "State of every configured series, with its reason",
  query: z.object({
    find: z
      .string()
      .max(200)
      .default("")
      .meta({
        description:
          "Words, each of which is to be in the name, the state or the road (WebSocket, REST) of a series.",
        examples: ["btc 1h", "stale"],
      }),
    order: z.enum(["name", "urgency"]).default("name").meta({
      description: "`urgency` = those that need a look come first.",
    }),
    limit: countParam(MAX_SERIES, MAX_SERIES),
  }),
  answers: {
    200: {
      description: "By the same function as the command, /readyz and the metrics.",
      schema: z.object({
        now: timeSchema.meta({ description: "Exchange time." }),
        run: runSchema.nullable(),
        foundCount: countSchema.meta({
          description: "How many were found; `series` has at most `limit` of them.",
        }),
        series: z.array(seriesStatusSchema),
      }),
    },
  },
  handle: async ({ query: { find, order, limit }, parts }) => {
    const { run, series } = await knownView(parts.readStatus());
    const found = findSeries(order === "urgency" ? urgentFirst(series) : series, find);
    return {
      now: parts.now(),
      run: run ?? null,
      foundCount: found.length,
      series: found.slice(0, limit).map(statusDocument),
    };
  },
});

const urgentFirst = onceOf((all: readonly SeriesView[]) => mostUrgentFirst(all));

function findSeries(all: readonly SeriesView[], text: string): readonly SeriesView[] {
  const words = text
    .toLowerCase()
    .split(/\s+/)
    .filter((part) => part !== "");
  if (words.length === 0) return all;
  return all.filter(({ series: { symbol, timeframe }, facts, status }) => {
    const road = facts.isStreamed ? "websocket" : "rest";
    const said = `${symbol} ${timeframe} ${status.word} ${road}`.toLowerCase();
    return words.every((part) => said.includes(part));
  });
}

export const summaryRoute: ApiRoute = route({
  method: "GET",
  path: "/api/v1/status/summary",
  id: "getStatusSummary",
  summary: "How many series are in which state, and the worst of them",
  answers: {
    200: {
      description: "Counts by state.",
      schema: z.object({
        now: timeSchema,
        isIngesting: z.boolean().meta({
          description: "False where this process only serves: then no candle is forming.",
        }),
        seriesCount: countSchema,
        counts: z.partialRecord(word, countSchema),
        openGapCount: countSchema,
        newestOpenTime: timeSchema.optional(),
        maxLagMs: z.number().optional(),
        notActive: z.array(seriesStatusSchema).meta({ description: "The first 20." }),
      }),
    },
  },
  handle: async ({ parts }) => {
    const { series } = await knownView(parts.readStatus());
    return { now: parts.now(), isIngesting: parts.isIngesting, ...summaryOf(series) };
  },
});

const summaryOf = onceOf((series: readonly SeriesView[]): object => {
  const counts: Partial<Record<StatusWord, number>> = {};
  let openGapCount = 0;
  let newestOpenTime = Number.NEGATIVE_INFINITY;
  let maxLagMs = Number.NEGATIVE_INFINITY;
  for (const { status, facts } of series) {
    counts[status.word] = (counts[status.word] ?? 0) + 1;
    openGapCount += facts.openGapCount;
    newestOpenTime = Math.max(newestOpenTime, facts.newestOpenTime ?? newestOpenTime);
    maxLagMs = Math.max(maxLagMs, status.lagMs ?? maxLagMs);
  }
  return {
    seriesCount: series.length,
    counts,
    openGapCount,
    ...(newestOpenTime === Number.NEGATIVE_INFINITY ? {} : { newestOpenTime }),
    ...(maxLagMs === Number.NEGATIVE_INFINITY ? {} : { maxLagMs }),
    notActive: series
      .filter(({ status }) => status.word !== "active")
      .slice(0, 20)
      .map(statusDocument),
  };
});

export const errorsRoute: ApiRoute = route({
  method: "GET",
  path: "/api/v1/errors",
  id: "listErrors",
  summary: "Every error code",
  answers: {
    200: {
      description: "The codes of problem documents.",
      schema: z.object({
        errors: z.array(
          z.object({
            code: z.string(),
            title: z.string(),
            status: z.number().int().meta({ description: "The usual HTTP status." }),
            isRetryable: z.boolean(),
          }),
        ),
      }),
    },
  },
  handle: async () => ({
    errors: (Object.keys(ERRORS) as ErrorCode[]).map((code) => ({
      code,
      title: ERRORS[code].title,
      status: statusOf(code),
      isRetryable: ERRORS[code].retryable,
    })),
  }),
});

/** @throws {HttpProblem} 503 with the reason for which no status is known */
async function knownView(
  asked: Promise<StatusView>,
): Promise<Extract<StatusView, { isKnown: true }>> {
  const view = await asked;
  if (view.isKnown) return view;
  throw new HttpProblem("E_DB_UNREACHABLE", view.reason, {
    headers: { "retry-after": "5" },
    remedy: "See /readyz and the log; it is tried again by itself.",
  });
}
