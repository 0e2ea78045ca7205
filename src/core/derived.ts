import { isTimeframe, nominalMs, openTimeAt, TIMEFRAMES, type Timeframe } from "./timeframe.ts";

/** A timeframe that the exchange does not have, made of candles of one that it has. */
export interface DerivedTimeframe {
  /** `45m`: number and unit in the one spelling that it has. */
  readonly name: string;
  readonly stepMs: number;
  /** An open time of its grid, epoch ms: 0, or for weeks the first Monday of 1970. */
  readonly originMs: number;
}

const UNITS = [
  { unit: "s", ms: 1_000 },
  { unit: "m", ms: 60_000 },
  { unit: "h", ms: 3_600_000 },
  { unit: "d", ms: 86_400_000 },
  { unit: "w", ms: 604_800_000 },
] as const;
const DAY_MS = 86_400_000;
const WEEK_MS = 7 * DAY_MS;
const MONDAY_MS = 4 * DAY_MS;
const LONGEST_MS = 53 * WEEK_MS;

/**
 * A derived timeframe by its name.
 * @returns what is wrong with the name, as words that follow it, when it is none
 */
export function parseDerived(text: string): DerivedTimeframe | string {
  const [, count = "", letter = ""] = /^([1-9]\d{0,7})([smhdw])$/.exec(text) ?? [];
  const given = UNITS.find(({ unit }) => unit === letter);
  if (given === undefined) return "is not a length like 45m, 10m, 3h, 2d or 2w";
  const stepMs = Number(count) * given.ms;
  if (stepMs > LONGEST_MS) return "is longer than a year";
  const unit = UNITS.findLast(({ ms }) => stepMs % ms === 0) ?? given;
  const name = `${stepMs / unit.ms}${unit.unit}`;
  if (isTimeframe(name)) {
    const same = name === text ? "is" : `is ${name},`;
    return `${same} a timeframe of the exchange: its own candles are stored, ingest those`;
  }
  if (name !== text) return `is written ${name}`;
  return { name, stepMs, originMs: unit.unit === "w" ? MONDAY_MS : 0 };
}

/** Timeframes of which it can be made, the longest first: their cells fill its own exactly, on one grid from 1970 on. */
export function sourcesOf({ stepMs, originMs }: DerivedTimeframe): readonly Timeframe[] {
  return TIMEFRAMES.filter((timeframe) => {
    const sourceMs = nominalMs(timeframe);
    return (
      sourceMs <= DAY_MS &&
      sourceMs < stepMs &&
      stepMs % sourceMs === 0 &&
      openTimeAt(timeframe, originMs) === originMs
    );
  }).toReversed();
}
