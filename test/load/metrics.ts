/** Readings of `/metrics`, and what lies between two of them. */

/** Upper edges of a histogram with what was counted up to each, over all labels. */
export type Buckets = ReadonlyMap<number, number>;

/** One reading. */
export interface Reading {
  /** ms since some instant. */
  readonly at: number;
  readonly rssMb: number;
  readonly heapMb: number;
  readonly cpuSeconds: number;
  readonly openFiles: number;
  readonly handles: number;
  /** Of the whole life of the process so far; p99 of the last interval is not told. */
  readonly loopMaxMs: number;
  /** Since the reading before. */
  readonly loopP99Ms: number;
  readonly storedCount: number;
  readonly receivedCount: number;
  readonly shedCount: number;
  readonly queueSize: number;
  readonly openGaps: number;
  readonly weight: number;
  readonly closeToStored: Buckets;
  /** Of candles of 1s alone. */
  readonly secondsToStored: Buckets;
  readonly eventToStored: Buckets;
}

/** Reads the page of a running program. */
export async function read(url: string): Promise<Reading> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const sum = (name: string, label = ""): number =>
    [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*${label}[^}]*\\})? (\\S+)$`, "gm"))].reduce(
      (total, [, value]) => total + Number(value),
      0,
    );
  return {
    at: performance.now(),
    rssMb: sum("process_resident_memory_bytes") / 2 ** 20,
    heapMb: sum("nodejs_heap_size_used_bytes") / 2 ** 20,
    cpuSeconds: sum("process_cpu_seconds_total"),
    openFiles: sum("process_open_fds"),
    handles: sum("nodejs_active_handles_total"),
    loopMaxMs: sum("nodejs_eventloop_lag_max_seconds") * 1_000,
    loopP99Ms: sum("nodejs_eventloop_lag_p99_seconds") * 1_000,
    storedCount: sum("ingestion_candles_processed_total"),
    receivedCount: sum("ingestion_stream_candles_total"),
    shedCount: sum("ingestion_candle_outcomes_total", 'outcome="shed"'),
    queueSize: sum("ingestion_queue_size"),
    openGaps: sum("ingestion_gaps_open"),
    weight: sum("exchange_request_weight_used"),
    closeToStored: bucketsOf(text, "ingestion_close_to_stored_seconds"),
    secondsToStored: bucketsOf(text, "ingestion_close_to_stored_seconds", 'timeframe="1s"'),
    eventToStored: bucketsOf(text, "ingestion_event_to_stored_seconds"),
  };
}

function bucketsOf(text: string, name: string, label = ""): Buckets {
  const buckets = new Map<number, number>();
  for (const [sample, edge = "", count] of text.matchAll(
    new RegExp(`^${name}_bucket\\{[^}]*le="([^"]+)"[^}]*\\} (\\S+)$`, "gm"),
  )) {
    if (!sample.includes(label)) continue;
    const upper = edge === "+Inf" ? Number.POSITIVE_INFINITY : Number(edge);
    buckets.set(upper, (buckets.get(upper) ?? 0) + Number(count));
  }
  return buckets;
}

/** Upper edge of the bucket that holds a quantile of what was counted between two readings, ms: "at most so much". */
export function atMostMs(before: Buckets, after: Buckets, share: number): number {
  const counts = countsBetween(before, after);
  const all = counts.at(-1)?.count ?? 0;
  if (all === 0) return Number.NaN;
  return (counts.find(({ count }) => count >= share * all)?.edge ?? Number.NaN) * 1_000;
}

/** The same, estimated within its bucket: as if it were filled evenly. Infinity beyond the last finite edge. */
export function aboutMs(before: Buckets, after: Buckets, share: number): number {
  const counts = [{ edge: 0, count: 0 }, ...countsBetween(before, after)];
  const wanted = share * (counts.at(-1)?.count ?? 0);
  const index = counts.findIndex(({ edge, count }) => edge > 0 && count >= wanted);
  const [low, high] = [counts[index - 1], counts[index]];
  if (wanted === 0 || low === undefined || high === undefined) return Number.NaN;
  const part = (wanted - low.count) / (high.count - low.count);
  return (low.edge + part * (high.edge - low.edge)) * 1_000;
}

/** Cumulative counts by upper edge, ascending. */
function countsBetween(before: Buckets, after: Buckets): { edge: number; count: number }[] {
  return [...after]
    .map(([edge, count]) => ({ edge, count: count - (before.get(edge) ?? 0) }))
    .sort((a, b) => a.edge - b.edge);
}

/** Slope of values over time by least squares. @returns per minute */
export function slopePerMinute(
  points: readonly { readonly at: number; readonly value: number }[],
): number {
  const count = points.length;
  if (count < 2) return Number.NaN;
  const meanAt = points.reduce((sum, { at }) => sum + at, 0) / count;
  const mean = points.reduce((sum, { value }) => sum + value, 0) / count;
  let above = 0;
  let below = 0;
  for (const { at, value } of points) {
    above += (at - meanAt) * (value - mean);
    below += (at - meanAt) ** 2;
  }
  return (above / below) * 60_000;
}
