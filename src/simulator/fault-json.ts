import type { ArchiveAnswer, ArchiveDirt, Fault, FaultKind, RestAnswer } from "./faults.ts";

type Check = (value: unknown) => boolean;

const isNumber: Check = (value) => typeof value === "number" && Number.isFinite(value);
const isText: Check = (value) => typeof value === "string" && value !== "";
const isTexts: Check = (value) => Array.isArray(value) && value.every(isText);
const isCode: Check = (value) => isNumber(value) && Number(value) >= 1000 && Number(value) < 5000;
const isStatus: Check = (value) => isNumber(value) && Number(value) >= 400 && Number(value) < 600;
const isRetryAfter: Check = (value) => value === null || isNumber(value) || isText(value);

const ANSWERS = [
  "429",
  "403",
  "451",
  "500",
  "503",
  "html",
  "truncated",
  "empty",
  "object",
  "timeout",
] as const satisfies readonly RestAnswer[];
const isAnswer: Check = (value) => ANSWERS.some((answer) => answer === value);

const ARCHIVE_ANSWERS = [
  "404",
  "403",
  "429",
  "500",
  "503",
  "html",
  "truncated",
  "timeout",
] as const satisfies readonly ArchiveAnswer[];
const isArchiveAnswer: Check = (value) => ARCHIVE_ANSWERS.some((answer) => answer === value);

const DIRTS = [
  "header",
  "bom",
  "crlf",
  "microseconds",
  "milliseconds",
  "mixedUnits",
  "elevenColumns",
  "duplicates",
  "conflicts",
  "garbage",
  "missingDay",
] as const satisfies readonly ArchiveDirt[];
const isDirt: Check = (value) => DIRTS.some((dirt) => dirt === value);
const isDay: Check = (value) => typeof value === "string" && /^\d{4}-\d\d-\d\d$/.test(value);

/** The fields of each kind; a `?` marks one that may be left out. */
const FIELDS: Readonly<Record<FaultKind, Readonly<Record<string, Check>>>> = {
  drop: { code: isCode, "reason?": isText, "sockets?": isNumber },
  cutMidFrame: { "sockets?": isNumber },
  serverShutdown: { "closeAfterMs?": isNumber, "code?": isCode },
  refuseUpgrades: { status: isStatus },
  halfOpen: {},
  noPings: {},
  silentSubscribe: { "streams?": isTexts },
  silence: { "streams?": isTexts },
  missingFinal: { "streams?": isTexts },
  lateFinal: { ms: isNumber, "streams?": isTexts },
  duplicateFinal: { "streams?": isTexts },
  staleForming: { "streams?": isTexts },
  reorder: { "streams?": isTexts },
  rest: { answer: isAnswer, "path?": isText, "retryAfter?": isRetryAfter },
  restDelay: { ms: isNumber, "path?": isText },
  restLag: { ms: isNumber },
  ban: { ms: isNumber },
  archive: { answer: isArchiveAnswer, "path?": isText, "retryAfter?": isRetryAfter },
  archiveMismatch: { "path?": isText },
  archiveDirt: { dirt: isDirt, "path?": isText, "day?": isDay },
  clockSkew: { ms: isNumber },
  symbolStatus: { symbol: isText, status: isText },
  delist: { symbol: isText },
  outage: { "symbols?": isTexts },
  corrections: { share: isNumber, delayMs: isNumber },
};

const TERMS: Readonly<Record<string, Check>> = {
  "forMs?": isNumber,
  "count?": isNumber,
  "probability?": isNumber,
};

/** Every kind of fault. */
export const FAULT_KINDS = Object.keys(FIELDS) as readonly FaultKind[];

/** Reads a fault from JSON text. @returns a sentence that says what is wrong with it, instead of throwing */
export function parseFault(text: string): Fault | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return "the body is not JSON";
  }
  if (typeof value !== "object" || value === null) return "the body is not an object";
  const fault: Readonly<Record<string, unknown>> = { ...value };
  const kind = FAULT_KINDS.find((name) => name === fault.kind);
  if (kind === undefined) return `kind must be one of ${FAULT_KINDS.join(", ")}`;
  const fields = { ...FIELDS[kind], ...TERMS };
  for (const [field, check] of Object.entries(fields)) {
    const name = field.replace("?", "");
    const isMissing = fault[name] === undefined;
    if (isMissing ? !field.endsWith("?") : !check(fault[name])) return `${kind}: bad ${name}`;
  }
  const unknown = Object.keys(fault).find(
    (name) => name !== "kind" && !(name in fields) && !(`${name}?` in fields),
  );
  return unknown === undefined ? (fault as unknown as Fault) : `${kind}: unknown field ${unknown}`;
}
