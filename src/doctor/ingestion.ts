import { seriesOf } from "../app.ts";
import { seriesKey, seriesLabel } from "../core/series.ts";
import { ago, DEAD_AFTER_MS, seriesStatus } from "../core/status.ts";
import { EXCHANGE } from "../exchanges/binance/index.ts";
import type { Check, Verdict } from "./check.ts";
import type { Context } from "./context.ts";

/** Refused candles that are looked at. */
const QUARANTINE_LIMIT = 100;
/** A gap is filled, or explained, well within this. */
const STUCK_AFTER_MS = 3 * 3_600_000;
const NAMED = 3;

/** What the database tells about ingestion: is it running, and what does it lack? */
export const INGESTION_CHECKS: readonly Check<Context>[] = [
  { id: "ban", title: "stored ban by the exchange", needs: ["migrations"], run: ban },
  { id: "ingester", title: "running ingester", needs: ["migrations"], run: ingester },
  { id: "series", title: "configured series", needs: ["migrations"], run: series },
  { id: "gaps", title: "missing candles", needs: ["migrations"], run: gaps },
  { id: "quarantine", title: "refused candles", needs: ["migrations"], run: quarantine },
];

async function ban(context: Context): Promise<Verdict> {
  context.ban = await context.store?.load(EXCHANGE);
  if (context.ban === undefined) return { status: "ok", found: "none" };
  const { untilTime, httpStatus, remainingMs } = context.ban;
  return {
    status: "warn",
    found: `the exchange refuses requests of this address until ${instant(untilTime)} UTC, for another ${ago(remainingMs)} (${httpStatus})`,
    remedy:
      "Wait: nothing is sent until then, live candles go on by WebSocket, the rest is fetched afterwards. Stop other programs on this address that ask Binance.",
  };
}

function ingester({ facts, database }: Context): Verdict {
  const { run } = facts;
  const start = 'Start it: "npx black-trade ingest".';
  if (run === undefined) {
    return { status: "warn", found: "no ingester ever ran on this database", remedy: start };
  }
  const who = `pid ${run.pid} on ${run.host}`;
  if (run.stoppedTime !== undefined) {
    const agoMs = run.now - run.stoppedTime;
    return {
      status: "warn",
      found: `the last one (${who}) was stopped ${ago(agoMs)} ago`,
      remedy: start,
    };
  }
  const silentMs = Math.abs(run.now - run.heartbeatTime);
  if (silentMs <= DEAD_AFTER_MS) {
    return {
      status: "ok",
      found: `${who}, ${run.mode}, last sign of life ${ago(silentMs)} ago; a second one would be refused`,
    };
  }
  return {
    status: "fail",
    found: `${who} gave no sign of life for ${ago(silentMs)}: it was killed, hangs, or cannot reach the database`,
    remedy:
      database.holder === undefined
        ? `${start} Its last log lines say why it ended; in a container look for "OOMKilled".`
        : `It still holds the database (server process ${database.holder.pid}, from ${database.holder.client}): stop process ${run.pid} on ${run.host}, then start it again.`,
  };
}

function series({ facts, config }: Context): Verdict {
  const { run } = facts;
  const isRunning =
    run !== undefined &&
    run.stoppedTime === undefined &&
    Math.abs(run.now - run.heartbeatTime) <= DEAD_AFTER_MS;
  if (!isRunning) return { status: "skip", found: "no ingester is running" };
  const ingested = new Map(
    facts.series.filter((one) => one.isConfigured).map((one) => [seriesKey(one.series), one]),
  );
  const missing = seriesOf(config).filter((one) => !ingested.has(seriesKey(one)));
  if (missing.length > 0) {
    return {
      status: "warn",
      found: `the running ingester does not collect ${named(missing.map(seriesLabel))}, which is configured here`,
      remedy: "Restart it: it reads TRADING_PAIRS and TIMEFRAMES when it starts.",
    };
  }
  const waiting = [...ingested.values()]
    .map((one) => ({ one, status: seriesStatus(one, run) }))
    .filter(({ status }) => !["active", "halted"].includes(status.word));
  const [first] = waiting;
  if (first === undefined) {
    return { status: "ok", found: `${ingested.size} series, all active or halted by the exchange` };
  }
  const isBad = waiting.some(({ status }) => ["stale", "error"].includes(status.word));
  return {
    status: isBad ? "fail" : "warn",
    found: `${waiting.length} of ${ingested.size} series are not active: ${named(waiting.map(({ one, status }) => `${seriesLabel(one.series)} ${status.word} (${status.reason})`))}`,
    remedy: isBad
      ? 'Mend what the reason names; the checks of exchange and database below say more. All of them: "npx black-trade status".'
      : 'Wait; it is being worked on. See it with "npx black-trade status --watch".',
  };
}

async function gaps({ facts, store }: Context): Promise<Verdict> {
  const { run } = facts;
  const withGaps = facts.series.filter((one) => one.isConfigured && one.openGapCount > 0);
  const confirmed = facts.series.reduce((sum, one) => sum + one.confirmedGapCount, 0);
  const count = withGaps.reduce((sum, one) => sum + one.openGapCount, 0);
  if (count === 0) {
    const explained = confirmed === 0 ? "" : `; ${confirmed} explained (the exchange has none)`;
    return { status: "ok", found: `no open gaps${explained}` };
  }
  const now = run?.now ?? 0;
  const open = (
    await Promise.all(withGaps.slice(0, 50).map((one) => store?.gaps(one.series) ?? []))
  )
    .flat()
    .filter(({ state }) => state === "open");
  const stuck = open.filter(
    ({ foundTime, reason }) => reason !== "not-fetched" && now - foundTime > STUCK_AFTER_MS,
  );
  const where = named(withGaps.map((one) => seriesLabel(one.series)));
  return {
    status: "warn",
    found: `${count} open gaps in ${where}${stuck.length > 0 ? `, ${stuck.length} of them for more than 3 h (${[...new Set(stuck.map(({ reason }) => reason))].join(", ")})` : ""}`,
    remedy:
      'A running ingester fills them by itself. At once, with what stands in the way: "npx black-trade fill-gaps"; the list: "npx black-trade fill-gaps --dry-run".',
  };
}

async function quarantine({ store }: Context): Promise<Verdict> {
  const rows = (await store?.quarantined(QUARANTINE_LIMIT)) ?? [];
  const [newest] = rows;
  if (newest === undefined) return { status: "ok", found: "none" };
  return {
    status: "warn",
    found: `${rows.length}${rows.length === QUARANTINE_LIMIT ? " or more" : ""} candles were refused, last ${seriesLabel(newest.series)}: ${newest.detail}`,
    remedy:
      "They are kept in table quarantine and asked for again. If they go on, look for a proxy that changes answers; otherwise the exchange serves them so.",
  };
}

function named(labels: readonly string[]): string {
  const more = labels.length - NAMED;
  return `${labels.slice(0, NAMED).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

function instant(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 19).replace("T", " ");
}
