import { z } from "zod";
import { TIMEFRAMES } from "../../core/timeframe.ts";
import type { Job } from "../jobs.ts";
import { type ApiRoute, route } from "./route.ts";
import { countSchema, rangeSchema, seriesSchema, timeParam, timeSchema } from "./schemas.ts";

const kind = z.enum(["fill", "backfill", "verify"]);
const symbols = z.array(z.string().min(1).max(50)).min(1).max(1_000);
const timeframes = z.array(z.enum(TIMEFRAMES)).min(1);
/** As in a query, or a number. */
const time = z.union([z.number().int().min(0).max(253_402_300_799_999), timeParam]);

const body = z
  .strictObject({
    kind: kind.meta({
      description:
        "`fill` = find gaps in what is stored and fill them; `backfill` = load history of what is configured; `verify` = check what is stored.",
    }),
    symbols: symbols.optional(),
    timeframes: timeframes.optional(),
    from: time.optional(),
    to: time.optional(),
    isRepairing: z.boolean().optional().meta({
      description: "Of `verify`: read again from the exchange what is missing or suspect.",
    }),
  })
  .meta({ id: "JobRequest" });

const jobSchema = z
  .object({
    id: z.string(),
    request: z.object({
      kind,
      symbols: symbols.optional(),
      timeframes: timeframes.optional(),
      from: timeSchema.optional(),
      to: timeSchema.optional(),
      isRepairing: z.boolean().optional(),
    }),
    state: z.enum(["waiting", "running", "done", "failed", "cancelled"]),
    createdTime: timeSchema,
    startedTime: timeSchema.optional(),
    endedTime: timeSchema.optional(),
    progress: z
      .object({
        phase: z.string(),
        doneCandles: countSchema,
        totalCandles: countSchema,
        storedCount: countSchema,
      })
      .optional(),
    outcome: z
      .object({
        isWhole: z.boolean().meta({ description: "True when nothing is left to do." }),
        storedCount: countSchema,
        remarks: z.array(z.string()).meta({ description: "What is left or was found." }),
        certificates: z.array(
          z.object({
            series: seriesSchema,
            range: rangeSchema,
            expectedCount: countSchema,
            presentCount: countSchema,
            rowCount: countSchema,
            absentCounts: z.record(z.string(), countSchema),
            confirmedCount: countSchema,
            confirmedShare: z.number(),
            findingCounts: z.object({
              info: countSchema,
              suspect: countSchema,
              wrong: countSchema,
            }),
            isClean: z.boolean(),
            hash: z.string(),
          }),
        ),
      })
      .optional(),
    problem: z.object({ code: z.string(), detail: z.string(), remedy: z.string() }).optional(),
  })
  .meta({ id: "Job" });

const params = z.object({ id: z.string().max(40) });
const one = (job: Job): object => ({ job });
const answer = z.object({ job: jobSchema });

export const listJobsRoute: ApiRoute = route({
  method: "GET",
  path: "/api/v1/jobs",
  id: "listJobs",
  summary: "Jobs of this process, the newest first",
  isTokenNeeded: true,
  answers: {
    200: { description: "The last 50.", schema: z.object({ jobs: z.array(jobSchema) }) },
  },
  handle: async ({ parts }) => ({ jobs: parts.jobs.list() }),
});

export const getJobRoute: ApiRoute = route({
  method: "GET",
  path: "/api/v1/jobs/:id",
  id: "getJob",
  summary: "A job with its progress or its outcome",
  isTokenNeeded: true,
  params,
  answers: { 200: { description: "The job.", schema: answer } },
  handle: async ({ params: { id = "" }, parts }) => one(parts.jobs.get(id)),
});

export const startJobRoute: ApiRoute = route({
  method: "POST",
  path: "/api/v1/jobs",
  id: "startJob",
  summary: "Start filling, loading or checking history",
  description: "Jobs run one after the other; live candles come first.",
  isTokenNeeded: true,
  body,
  answers: { 202: { description: "It waits or runs.", schema: answer } },
  handle: async ({ body: request, parts, reply }) => {
    const job = parts.jobs.start(request);
    return reply.code(202).header("location", `/api/v1/jobs/${job.id}`).send(one(job));
  },
});

export const cancelJobRoute: ApiRoute = route({
  method: "DELETE",
  path: "/api/v1/jobs/:id",
  id: "cancelJob",
  summary: "Cancel a job; what it has stored stays",
  isTokenNeeded: true,
  params,
  answers: { 202: { description: "It ends, or has ended.", schema: answer } },
  handle: async ({ params: { id = "" }, parts, reply }) =>
    reply.code(202).send(one(parts.jobs.cancel(id))),
});
