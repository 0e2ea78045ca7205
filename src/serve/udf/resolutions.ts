import { TIMEFRAMES, type Timeframe } from "../../core/timeframe.ts";

/** What TradingView calls the lengths of candles: minutes as a bare number. */
const RESOLUTION_OF: Readonly<Record<Timeframe, string>> = {
  "1s": "1S",
  "1m": "1",
  "3m": "3",
  "5m": "5",
  "15m": "15",
  "30m": "30",
  "1h": "60",
  "2h": "120",
  "4h": "240",
  "6h": "360",
  "8h": "480",
  "12h": "720",
  "1d": "1D",
  "3d": "3D",
  "1w": "1W",
  "1M": "1M",
};
const TIMEFRAME_OF = new Map(
  TIMEFRAMES.map((timeframe) => [RESOLUTION_OF[timeframe], timeframe] as const),
);

export function resolutionOf(timeframe: Timeframe): string {
  return RESOLUTION_OF[timeframe];
}

/** `S`, `D`, `W` and `M` stand for one of them. */
export function timeframeOf(resolution: string): Timeframe | undefined {
  const whole = /^[SDWM]$/.test(resolution) ? `1${resolution}` : resolution;
  return TIMEFRAME_OF.get(whole);
}

/** What a chart is told that it may ask for; the multipliers are those of each kind of resolution. */
export function resolutionFacts(
  timeframes: readonly Timeframe[],
): Readonly<Record<string, unknown>> {
  const resolutions = timeframes.map(resolutionOf);
  const counts = (unit: string): string[] =>
    resolutions.filter((one) => one.endsWith(unit)).map((one) => one.slice(0, -1));
  const minutes = resolutions.filter((one) => /^\d+$/.test(one));
  const [seconds, days, weeks, months] = ["S", "D", "W", "M"].map(counts);
  return {
    supported_resolutions: resolutions,
    has_seconds: seconds?.length !== 0,
    seconds_multipliers: seconds,
    has_intraday: minutes.length > 0 || seconds?.length !== 0,
    intraday_multipliers: minutes,
    has_daily: days?.length !== 0,
    daily_multipliers: days,
    has_weekly_and_monthly: weeks?.length !== 0 || months?.length !== 0,
    weekly_multipliers: weeks,
    monthly_multipliers: months,
  };
}
