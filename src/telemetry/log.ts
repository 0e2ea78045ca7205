import { type DestinationStream, type Logger, pino } from "pino";
import type { RecentLines } from "./recent-lines.ts";

/** How the log is written. */
export interface LogOptions {
  readonly level: string;
  /** Plain lines for a person at a terminal; otherwise one JSON document a line. */
  readonly isPlain: boolean;
  readonly hasColors: boolean;
  /** Texts that must never appear. */
  readonly secrets: readonly string[];
  readonly write: (line: string) => void;
  /** Keeps the newest lines for those who look at the page. */
  readonly recent?: RecentLines;
}

const LEVEL_NAMES: Readonly<Record<number, string>> = {
  20: "debug",
  30: "info",
  40: "warn",
  50: "error",
  60: "fatal",
};
const COLORS: Readonly<Record<string, string>> = { warn: "\u001b[33m", error: "\u001b[31m" };

/** Opens the log. Every line passes the redactor, whatever wrote it. */
export function openLog(options: LogOptions): Logger {
  const redact = redactor(options.secrets);
  const destination: DestinationStream = {
    write(line) {
      const clean = redactedLine(line, redact);
      keep(options.recent, clean);
      options.write(options.isPlain ? plainLine(clean, options.hasColors) : clean);
    },
  };
  return pino(
    { level: options.level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    destination,
  );
}

/** A secret may be a word that the frame of a line has, too: only what is said is looked through. */
function redactedLine(json: string, redact: (text: string) => string): string {
  const line = JSON.parse(json, (key, value: unknown) =>
    typeof value === "string" && key !== "time" ? redact(value) : value,
  ) as unknown;
  return `${JSON.stringify(line)}\n`;
}

/** Shorter secrets are found in every other word: of these only the places of a password are looked through. */
const MIN_ANYWHERE = 4;

/**
 * Replaces every secret by `***`, also where JSON or a URL has escaped it. One of fewer than four characters is replaced
 * only where a password stands: `:…@` and `password=…`.
 */
export function redactor(secrets: readonly string[]): (text: string) => string {
  const forms = (secret: string): string[] => [
    ...new Set([secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)]),
  ];
  const given = secrets.filter((secret) => secret !== "");
  const anywhere = given
    .filter(({ length }) => length >= MIN_ANYWHERE)
    .flatMap(forms)
    .sort((a, b) => b.length - a.length);
  const inPlace = given
    .filter(({ length }) => length < MIN_ANYWHERE)
    .flatMap(forms)
    .map((secret) => secret.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"))
    .map(
      (secret) => new RegExp(`(?<=:)${secret}(?=@)|(?<=password=)${secret}(?![^&\\s"'\\\\])`, "gi"),
    );
  return (text) => {
    const clean = anywhere.reduce((rest, secret) => rest.replaceAll(secret, "***"), text);
    return inPlace.reduce((rest, pattern) => rest.replace(pattern, "***"), clean);
  };
}

interface Line {
  readonly level: number;
  /** ISO 8601. */
  readonly time: string;
  readonly msg?: string;
}

function keep(recent: RecentLines | undefined, json: string): void {
  if (recent === undefined) return;
  const { level, time, msg = "" } = JSON.parse(json) as Line;
  recent.add(Date.parse(time), LEVEL_NAMES[level] ?? String(level), oneLine(msg));
}

function plainLine(json: string, hasColors: boolean): string {
  const { level, time, msg } = JSON.parse(json) as Line;
  const name = LEVEL_NAMES[level] ?? String(level);
  const color = hasColors ? (COLORS[name] ?? "") : "";
  const end = color === "" ? "" : "\u001b[0m";
  return `${time.slice(11, 19)} ${color}${name.padEnd(5)}${end} ${oneLine(msg ?? "")}\n`;
}

/** Control characters would let a hostile name forge a line or move the cursor. */
function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is removed
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (character) =>
    JSON.stringify(character).slice(1, -1),
  );
}
