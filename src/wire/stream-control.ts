/**
 * The control messages of a stream connection, without any socket: text in, meaning or error out (binance.md §1.4).
 */

/** The request id as it goes back: JSON text, so that a 64-bit integer survives. */
export type IdText = string;

/** What a client's text message asks for. */
export type ControlMessage =
  | {
      readonly kind: "subscribe" | "unsubscribe";
      readonly streams: readonly string[];
      readonly id: IdText;
    }
  | { readonly kind: "list"; readonly id: IdText }
  | { readonly kind: "setCombined"; readonly value: boolean; readonly id: IdText }
  | { readonly kind: "getCombined"; readonly id: IdText }
  | ControlError;

/** A refusal. */
export interface ControlError {
  readonly kind: "error";
  readonly code: number;
  readonly msg: string;
  readonly id: IdText;
  /** The exchange closes the socket after the answer. */
  readonly closes?: boolean;
}

const METHODS = [
  "SUBSCRIBE",
  "UNSUBSCRIBE",
  "LIST_SUBSCRIPTIONS",
  "SET_PROPERTY",
  "GET_PROPERTY",
] as const;

/** Letters of any script, digits, `-_.`, then `@` parts; a leading `!` for streams of all symbols. */
const STREAM_NAME = /^!?[\p{L}\p{M}\p{N}_.-]+(?:@[\w.:+-]+)*$/u;

/** Whether the exchange takes a name without a word. It says nothing of whether such a stream exists. */
export function isWellFormedStream(name: string): boolean {
  return STREAM_NAME.test(name);
}

/** Reads a client's text message. Never throws. */
export function parseControl(text: string): ControlMessage {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return invalidJson(error);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return invalid("expected struct Request", "null");
  }
  const message: Readonly<Record<string, unknown>> = { ...value };
  const id = idText(text, message.id);
  if (id === undefined) return invalid("request ID must be an unsigned integer", "null");
  const { method, params } = message;
  if (method === undefined) {
    return invalid(`missing field \`method\` at line 1 column ${text.length}`, id);
  }
  const known = METHODS.find((name) => name === method);
  if (known === undefined) {
    const expected = METHODS.map((name) => `\`${name}\``).join(", ");
    return invalid(`unknown variant \`${String(method)}\`, expected one of ${expected}`, id);
  }
  const list: readonly unknown[] = Array.isArray(params) ? params : [];
  switch (known) {
    case "SUBSCRIBE":
    case "UNSUBSCRIBE":
      return streamsMessage(known, params, id);
    case "LIST_SUBSCRIPTIONS":
      return list.length > 0 ? invalid("too many parameters", id) : { kind: "list", id };
    case "SET_PROPERTY":
      return setProperty(list, id);
    case "GET_PROPERTY":
      if (list.length > 1) return invalid("too many parameters", id);
      return list[0] === "combined" ? { kind: "getCombined", id } : unknownProperty(id);
  }
}

/** The text of a successful answer. @param result JSON text */
export function resultText(result: string, id: IdText): string {
  return `{"result":${result},"id":${id}}`;
}

/** The text of a refusal: nested as on the wire, or flat as in the documents. */
export function errorText(error: ControlError, form: "nested" | "flat"): string {
  const body = `"code":${error.code},"msg":${JSON.stringify(error.msg)}`;
  return form === "nested" ? `{"error":{${body}},"id":${error.id}}` : `{${body},"id":${error.id}}`;
}

/** The refusal of more streams than a socket may have. */
export function tooManyStreams(id: IdText): ControlError {
  return { kind: "error", code: 4, msg: "Too many subscriptions", id };
}

function streamsMessage(
  method: "SUBSCRIBE" | "UNSUBSCRIBE",
  params: unknown,
  id: IdText,
): ControlMessage {
  if (!Array.isArray(params)) return invalid("missing field `params`", id);
  const streams: string[] = [];
  for (const name of params as readonly unknown[]) {
    if (typeof name !== "string" || !isWellFormedStream(name)) {
      return { ...invalid("invalid stream", id), closes: true };
    }
    streams.push(name);
  }
  return { kind: method === "SUBSCRIBE" ? "subscribe" : "unsubscribe", streams, id };
}

function setProperty(list: readonly unknown[], id: IdText): ControlMessage {
  if (list.length > 2) return invalid("too many parameters", id);
  const [name, value] = list;
  if (name !== "combined") return unknownProperty(id);
  if (typeof value === "boolean") return { kind: "setCombined", value, id };
  return { kind: "error", code: 1, msg: "Invalid value type: expected Boolean", id };
}

function unknownProperty(id: IdText): ControlError {
  return { kind: "error", code: 0, msg: "Unknown property", id };
}

function invalid(what: string, id: IdText): ControlError {
  return { kind: "error", code: 2, msg: `Invalid request: ${what}`, id };
}

function invalidJson(error: unknown): ControlError {
  const [, position = "0"] =
    /position (\d+)/.exec(error instanceof Error ? error.message : "") ?? [];
  const msg = `Invalid JSON: expected value at line 1 column ${Number(position) + 1}`;
  return { kind: "error", code: 3, msg, id: "null" };
}

/** 64-bit signed integer, alphanumeric text up to 36 characters (a UUID's hyphens included), or null. */
function idText(message: string, id: unknown): IdText | undefined {
  if (id === undefined || id === null) return "null";
  if (typeof id === "string") {
    return /^[\w-]{1,36}$/.test(id) ? JSON.stringify(id) : undefined;
  }
  if (typeof id !== "number" || !Number.isInteger(id)) return undefined;
  if (Number.isSafeInteger(id)) return String(id);
  // JSON.parse has rounded it: take the digits as the client wrote them.
  return /"id"\s*:\s*(-?\d{1,19})\s*[,}]/.exec(message)?.[1];
}
