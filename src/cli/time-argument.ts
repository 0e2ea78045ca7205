import { isCalendarDay } from "../core/calendar.ts";
import { BlackTradeError } from "../core/errors.ts";

const UNITS: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

const AGE_UNITS: Readonly<Record<string, number>> = { ...UNITS, y: 365 * 86_400_000 };

/**
 * A length of time as people give it: `36h`, `30d`, `12w`, `5y` (a year is 365 days). Minutes and months look alike, so
 * neither is taken.
 * @returns ms
 * @throws {BlackTradeError} E_USAGE
 */
export function parseAge(flag: string, text: string): number {
  const [, count = "", unit = ""] = /^([1-9]\d{0,4})([hdwy])$/.exec(text) ?? [];
  const unitMs = AGE_UNITS[unit];
  if (unitMs !== undefined) return Number(count) * unitMs;
  throw new BlackTradeError("E_USAGE", `${flag}: "${text}" is not a length of time`, {
    remedy: "write it like 36h, 30d, 12w or 5y",
  });
}

/**
 * An instant as people give it: `2025-01-01`, `2025-01-01T12:30Z` (without a zone it is UTC), `-7d`, `-12h`, `now`, or
 * epoch ms.
 * @param now what relative times count from, epoch ms
 * @throws {BlackTradeError} E_USAGE
 */
export function parseTime(flag: string, text: string, now: number): number {
  const relative = /^-(\d{1,6})([smhdw])$/.exec(text);
  if (relative !== null) return now - Number(relative[1]) * (UNITS[relative[2] ?? ""] ?? 0);
  if (text === "now") return now;
  if (/^\d{12,14}$/.test(text)) return Number(text);
  const day =
    /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?)?(Z|[+-]\d{2}:\d{2})?)?$/.exec(
      text,
    );
  if (day !== null) {
    if (!isCalendarDay(day[1] ?? "")) {
      throw new BlackTradeError(
        "E_USAGE",
        `${flag}: "${text}": there is no such day in the calendar`,
        {
          remedy: "give a day that exists; the last one of February is 28 or 29",
        },
      );
    }
    const time = Date.parse(`${day[1]}T${day[2] ?? "00:00"}${day[3] ?? "Z"}`);
    if (!Number.isNaN(time)) return time;
  }
  throw new BlackTradeError("E_USAGE", `${flag}: "${text}" is not a time`, {
    remedy: "write it like 2025-01-01, 2025-01-01T12:30Z or -7d",
  });
}

/**
 * Judges the ends of a range, before anything is opened for it.
 * @param now what relative times count from, epoch ms
 * @throws {BlackTradeError} E_USAGE
 */
export function checkRange(
  { from, to }: { readonly from?: string; readonly to?: string },
  now: number,
): void {
  const first = from === undefined ? Number.NEGATIVE_INFINITY : parseTime("--from", from, now);
  const end = to === undefined ? Number.POSITIVE_INFINITY : parseTime("--to", to, now);
  if (first < end) return;
  throw new BlackTradeError("E_USAGE", `--from ${from} does not lie before --to ${to}`, {
    remedy: "the end of a range is not in it: a day is --from 2025-01-01 --to 2025-01-02",
  });
}
