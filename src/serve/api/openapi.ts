import { z } from "zod";
import type { AnswerKind, ApiRoute } from "./route.ts";
import { problemSchema } from "./schemas.ts";

type Json = Record<string, unknown>;

/** The description of the API, made from the schemas that its requests are checked by. OpenAPI 3.1. */
export function openApiDocument(routes: readonly ApiRoute[], version: string): Json {
  const components: Json = {};
  const paths: Record<string, Json> = {};
  for (const one of routes) {
    const path = one.path.replace(/:(\w+)/g, "{$1}");
    paths[path] = { ...paths[path], [one.method.toLowerCase()]: operationOf(one, components) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "black-trade",
      version,
      description:
        "Closed candles digit for digit, what is missing and why. Times are epoch milliseconds UTC, ranges half-open `[from, to)`, decimals text. Errors are problem documents (RFC 9457) with a code and a remedy.",
    },
    servers: [{ url: "/" }],
    security: [{}, { token: [] }],
    paths,
    components: {
      securitySchemes: {
        token: {
          type: "http",
          scheme: "bearer",
          description: "API_TOKEN; demanded everywhere when it is set, and by jobs always.",
        },
      },
      schemas: components,
    },
  };
}

function operationOf(one: ApiRoute, components: Json): Json {
  const parameters = [
    ...parametersOf(one.params, "path", components),
    ...parametersOf(one.query, "query", components),
  ];
  return {
    operationId: one.id,
    summary: one.summary,
    ...(one.description === undefined ? {} : { description: one.description }),
    ...(one.isTokenNeeded === true ? { security: [{ token: [] }] } : {}),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(one.body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { "application/json": { schema: schemaOf(one.body, "input", components) } },
          },
        }),
    responses: {
      ...Object.fromEntries(
        Object.entries(one.answers).map(([status, kind]) => [status, answerOf(kind, components)]),
      ),
      default: {
        description: "What went wrong, and what to do about it.",
        content: {
          "application/problem+json": { schema: schemaOf(problemSchema, "output", components) },
        },
      },
    },
  };
}

function parametersOf(
  schema: z.ZodObject | undefined,
  where: "path" | "query",
  components: Json,
): Json[] {
  if (schema === undefined) return [];
  const document = schemaOf(schema, "input", components) as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(document.properties ?? {}).map(([name, property]) => {
    const { description, examples, ...rest } = property;
    return {
      name,
      in: where,
      required: where === "path" || (document.required ?? []).includes(name),
      ...(description === undefined ? {} : { description }),
      schema: examples === undefined ? rest : { ...rest, examples },
    };
  });
}

function answerOf({ description, schema, otherTypes = [] }: AnswerKind, components: Json): Json {
  const json = schema === undefined ? [] : [["application/json", schema] as const];
  const content = Object.fromEntries([
    ...json.map(([type, one]) => [type, { schema: schemaOf(one, "output", components) }]),
    ...otherTypes.map((type) => [type, {}]),
  ]);
  return Object.keys(content).length === 0 ? { description } : { description, content };
}

/** The JSON Schema of a schema; parts with an `id` go into the components, and are referred to. */
function schemaOf(schema: z.ZodType, io: "input" | "output", components: Json): Json {
  const {
    $schema: _,
    $defs = {},
    ...document
  } = z.toJSONSchema(schema, { io }) as Json & {
    $defs?: Json;
  };
  const refer = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(refer);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, one]) => [
        key,
        key === "$ref" && typeof one === "string"
          ? one.replace("#/$defs/", "#/components/schemas/")
          : refer(one),
      ]),
    );
  };
  for (const [name, definition] of Object.entries($defs)) components[name] = refer(definition);
  return refer(document) as Json;
}
