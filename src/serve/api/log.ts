import { z } from "zod";
import { type ApiRoute, route } from "./route.ts";
import { countSchema, timeSchema } from "./schemas.ts";

export const logRoute: ApiRoute = route({
  method: "GET",
  path: "/api/v1/log",
  id: "readLog",
  summary: "The newest lines of this process's log, in plain words",
  description: "A few hundred lines are kept. Secrets are masked.",
  query: z.object({
    after: z
      .string()
      .regex(/^\d{1,15}$/, "is not the id of a line")
      .transform(Number)
      .default(0)
      .meta({ type: "integer", pattern: undefined, description: "Only lines after this id." }),
  }),
  answers: {
    200: {
      description: "The oldest first.",
      schema: z.object({
        lines: z.array(
          z.object({ id: countSchema, time: timeSchema, level: z.string(), text: z.string() }),
        ),
      }),
    },
  },
  handle: async ({ query, parts }) => ({ lines: parts.logLines(query.after) }),
});
