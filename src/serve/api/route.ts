import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { nearest } from "../../core/nearest.ts";
import type { FaceContext, ServeParts } from "../parts.ts";
import { HttpProblem } from "../problem.ts";

/** What a handler is given: everything checked. */
export interface Asked<Query, Body> {
  readonly query: Query;
  readonly body: Body;
  /** Of the path, as they stand there. */
  readonly params: Readonly<Record<string, string>>;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly parts: ServeParts;
}

/** A kind of answer, for the description. */
export interface AnswerKind {
  readonly description: string;
  /** Of the JSON document; absent for other media types. */
  readonly schema?: z.ZodType;
  /** Media types besides JSON, or instead of it. */
  readonly otherTypes?: readonly string[];
}

/** One operation of the API: from this the route is made, and its description. */
export interface ApiRoute {
  readonly method: "GET" | "POST" | "DELETE";
  /** `/api/v1/jobs/:id` */
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  readonly description?: string;
  readonly query?: z.ZodObject;
  readonly params?: z.ZodObject;
  readonly body?: z.ZodType;
  readonly answers: Readonly<Record<number, AnswerKind>>;
  /** Asked for even where no token is set. */
  readonly isTokenNeeded?: boolean;
  /** Answers, or writes to the reply itself and returns it. */
  readonly handle: (asked: Asked<never, never>) => Promise<unknown>;
}

/** Ties the types of the schemas to those of the handler. */
export function route<
  Query extends z.ZodObject = z.ZodObject<Record<never, never>>,
  Body extends z.ZodType = z.ZodUndefined,
>(
  definition: Omit<ApiRoute, "handle" | "query" | "body"> & {
    readonly query?: Query;
    readonly body?: Body;
    readonly handle: (asked: Asked<z.output<Query>, z.output<Body>>) => Promise<unknown>;
  },
): ApiRoute {
  return definition as ApiRoute;
}

/** Adds a route. */
export function addRoute(server: FastifyInstance, context: FaceContext, one: ApiRoute): void {
  // Once, not for each request: a schema is compiled the first time that it is used.
  const ofQuery = strict(one.query ?? z.object({}));
  const ofParams = strict(one.params ?? z.object({}));
  const ofBody = one.body && strict(one.body);
  server.route({
    method: one.method,
    url: one.path,
    handler: async (request, reply) => {
      if (one.isTokenNeeded === true) context.demandToken(request.raw);
      const query = parsed(ofQuery, request.query, "query");
      const params = parsed(ofParams, request.params, "path") as Asked<never, never>["params"];
      const body = ofBody && parsed(ofBody, request.body, "body");
      const parts = context.parts();
      const asked = { query, params, body, request, reply, parts } as Asked<never, never>;
      return await one.handle(asked);
    },
  });
}

/** Takes no key that it does not know. */
function strict(schema: z.ZodType): z.ZodType {
  return schema instanceof z.ZodObject ? schema.strict() : schema;
}

/** @throws {HttpProblem} E_HTTP_REQUEST with every mistake at once */
function parsed(schema: z.ZodType, value: unknown, where: "query" | "path" | "body"): unknown {
  const result = schema.safeParse(value ?? {});
  if (result.success) return result.data;
  const known = schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
  const faults = result.error.issues.flatMap((issue) => {
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => {
        const meant = nearest(key, known);
        const shown = JSON.stringify(key.slice(0, 60));
        return `${shown} is not a parameter${meant === undefined ? "" : `; did you mean ${meant}?`}`;
      });
    }
    const name = issue.path.join(".") || where;
    return [`${name}: ${issue.message}`];
  });
  throw new HttpProblem("E_HTTP_REQUEST", `wrong ${where}: ${faults.slice(0, 20).join("; ")}`, {
    remedy:
      known.length === 0
        ? `This request takes nothing in its ${where}.`
        : `The ${where} may hold: ${known.join(", ")}; see /openapi.json.`,
  });
}
