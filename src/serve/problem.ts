import type { FastifyReply, FastifyRequest } from "fastify";
import { BlackTradeError, ERRORS, type ErrorCode, messageOf } from "../core/errors.ts";

/** HTTP's word for an error; every other code is 502 (exchange) or 503 (database). */
const STATUS_OF: Readonly<Partial<Record<ErrorCode, number>>> = {
  E_CONFIG: 400,
  E_USAGE: 400,
  E_HTTP_REQUEST: 400,
  E_HTTP_TOKEN: 401,
  E_HTTP_ORIGIN: 403,
  E_HTTP_NOT_FOUND: 404,
  E_SOURCE_SYMBOL: 404,
  E_HTTP_HOST: 421,
  E_HTTP_BUSY: 503,
  E_HTTP_NOT_READY: 503,
};

/** An error that a request is answered with. */
export class HttpProblem extends BlackTradeError {
  override readonly name = "HttpProblem";
  /** HTTP status. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    code: ErrorCode,
    detail: string,
    options: {
      readonly remedy: string;
      /** The status of the code when not given. */
      readonly status?: number;
      readonly headers?: Readonly<Record<string, string>>;
    },
  ) {
    super(code, detail, { remedy: options.remedy });
    this.status = options.status ?? statusOf(code);
    this.headers = options.headers ?? {};
  }
}

/** The document of RFC 9457, with the code and what to do about it. */
export interface ProblemDocument {
  /** Where the code is explained, relative to the server. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly remedy: string;
}

/** Media type of {@link ProblemDocument}. */
export const PROBLEM_TYPE = "application/problem+json";

/** HTTP status of an error code. */
export function statusOf(code: ErrorCode): number {
  return STATUS_OF[code] ?? (code.startsWith("E_SOURCE") ? 502 : 503);
}

/** The program's own errors as they are, fastify's own by their status; everything else hides what it was. */
export function problemOf(error: unknown): HttpProblem {
  if (error instanceof HttpProblem) return error;
  if (error instanceof BlackTradeError) {
    return new HttpProblem(error.code, error.message, { remedy: error.remedy });
  }
  const status = fastifyStatus(error);
  if (status !== undefined && status < 500) {
    return new HttpProblem("E_HTTP_REQUEST", messageOf(error), {
      status,
      remedy: "See /openapi.json for what is accepted.",
    });
  }
  return new HttpProblem("E_DB_FAILED", "the program made an error; its log has the details", {
    status: 500,
    remedy: "Report it with the lines of the log.",
  });
}

/** The answer for an error. */
export function documentOf({ code, status, message, remedy }: HttpProblem): ProblemDocument {
  return {
    type: `/api/v1/errors#${code}`,
    title: ERRORS[code].title,
    status,
    detail: message,
    code,
    remedy,
  };
}

/** Answers with an error. */
export async function sendProblem(reply: FastifyReply, problem: HttpProblem): Promise<void> {
  await reply
    .code(problem.status)
    .headers(problem.headers)
    .header("cache-control", "no-store")
    .type(PROBLEM_TYPE)
    .send(JSON.stringify(documentOf(problem)));
}

/** Nothing is served under the path of a request. */
export function notFound(request: FastifyRequest): HttpProblem {
  const [path = ""] = request.url.split("?");
  return new HttpProblem(
    "E_HTTP_NOT_FOUND",
    `there is no ${request.method} ${path.slice(0, 200)}`,
    {
      remedy: "See /openapi.json for what there is.",
    },
  );
}

function fastifyStatus(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("statusCode" in error)) return undefined;
  return typeof error.statusCode === "number" ? error.statusCode : undefined;
}
