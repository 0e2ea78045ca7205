import { isTimeframe, TIMEFRAMES, type Timeframe } from "../core/timeframe.ts";

/** What file names and cells say about symbol and timeframe. */

const WORDS: Readonly<Record<string, Timeframe>> = {
  d: "1d",
  day: "1d",
  daily: "1d",
  h: "1h",
  hour: "1h",
  hourly: "1h",
  minute: "1m",
  min: "1m",
  w: "1w",
  week: "1w",
  weekly: "1w",
  month: "1M",
  monthly: "1M",
  "1mo": "1M",
  "1D": "1d",
  "3D": "3d",
  "1W": "1w",
  D: "1d",
  W: "1w",
  M: "1M",
};
const MINUTES: Readonly<Record<number, Timeframe>> = {
  1: "1m",
  3: "3m",
  5: "5m",
  15: "15m",
  30: "30m",
  60: "1h",
  120: "2h",
  240: "4h",
  360: "6h",
  480: "8h",
  720: "12h",
  1440: "1d",
  4320: "3d",
  10080: "1w",
};

/** A timeframe however files spell it: `1h`, `60`, `60min`, `1H`, `daily`, `1mo`; `undefined` for any other word. */
export function timeframeOf(word: string): Timeframe | undefined {
  if (isTimeframe(word)) return word;
  const known = WORDS[word] ?? WORDS[word.toLowerCase()];
  if (known !== undefined) return known;
  const minutes = /^(\d{1,5})(?:m|min|mins|minute|minutes|t)?$/i.exec(word);
  if (minutes !== null) return MINUTES[Number(minutes[1])];
  const hours = /^(\d{1,2})(?:h|hr|hour|hours)$/i.exec(word);
  const lower = hours === null ? word.toLowerCase() : `${Number(hours[1])}h`;
  return TIMEFRAMES.find((timeframe) => timeframe === lower && timeframe !== "1M");
}

/** `BTC/USDT`, `btc-usdt` → `BTCUSDT`; `undefined` for what is no pair or symbol. */
export function symbolOf(text: string): string | undefined {
  const joined = text.trim().toUpperCase().replace(/[/_-]/g, "");
  return /^[\p{L}\p{N}.]{2,50}$/u.test(joined) ? joined : undefined;
}

/** Symbol and timeframe of `BTCUSDT_1h.csv`, `BTC-USDT-15m.csv`, `ethusdt 4h.csv`; what is not there is absent. */
export function namedSeries(name: string): { symbol?: string; timeframe?: Timeframe } {
  const stem = name.replace(/\.[^.]*$/, "");
  const words = stem.split(/[\s_.,-]+/).filter((word) => word !== "");
  const at = words.findIndex((word, index) => index > 0 && timeframeOf(word) !== undefined);
  const timeframe = at < 0 ? undefined : timeframeOf(words[at] ?? "");
  const before = words.slice(0, at < 0 ? 0 : at);
  // One word, or a base and its quote, in capitals: more would be a title.
  const symbol =
    before.length > 0 &&
    before.length <= 2 &&
    before.every((word) => /^[\p{Lu}\p{N}]{2,}$/u.test(word))
      ? before.join("")
      : undefined;
  return {
    ...(symbol === undefined || symbol.length < 5 ? {} : { symbol }),
    ...(timeframe === undefined ? {} : { timeframe }),
  };
}
