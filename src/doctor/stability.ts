import type { HttpConfig } from "../config.ts";
import type { Check, Verdict } from "./check.ts";
import type { Context } from "./context.ts";

/** Losses an hour from which on a connection counts as bad: the exchange itself ends one a day. */
const BAD_PER_HOUR = 3;
/** A few losses shortly after the start say nothing yet. */
const MIN_LOSSES = 4;
const DEADLINE_MS = 5_000;

/** What to do about connections that are lost, by the reason that the ingester counts them under. */
const REMEDIES: Readonly<Record<string, string>> = {
  broken: "The line breaks: look at the network of this machine, its router, a VPN.",
  closed:
    "The other side closes it: a proxy or firewall with a time limit stands between, or another program on this address opens too many connections.",
  silent:
    "Something on the way swallows the data: look at firewalls and proxies that know no WebSockets.",
  timeout: "Connecting takes too long: look at the network and its load.",
  dns: "Names cannot be resolved at times: look at the DNS server (/etc/resolv.conf).",
  tls: "Certificates are not accepted: something answers in the exchange's place, or the clock is wrong.",
  refused:
    "The exchange refuses: look at the check exchange-stream, and for other programs on this address.",
  protocol: "Frames come broken: something between changes them.",
  overrun: "This machine is too slow for so many series: collect fewer, or give it more processor.",
};

/** Does the running ingester keep losing its WebSocket, and why? Its own counters tell. */
export const STABILITY_CHECK: Check<Context> = {
  id: "stream-stability",
  title: "WebSocket disconnects of the running ingester",
  needs: ["configuration"],
  run: async ({ config, clock }, signal) => {
    const text = await readMetrics(config.http, signal);
    if (text === undefined) {
      return { status: "skip", found: `no ingester answers on ${placeOf(config.http)}` };
    }
    return judge(text, clock.now());
  },
};

function placeOf({ host, port }: HttpConfig): string {
  const name = ["0.0.0.0", "::"].includes(host) ? "127.0.0.1" : host;
  return `${name.includes(":") ? `[${name}]` : name}:${port}`;
}

async function readMetrics(http: HttpConfig, signal: AbortSignal): Promise<string | undefined> {
  if (http.port === 0) return undefined;
  try {
    const answer = await fetch(`http://${placeOf(http)}/metrics`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]),
      redirect: "manual",
      headers: http.token === undefined ? {} : { authorization: `Bearer ${http.token}` },
    });
    const text = await answer.text();
    return text.includes("black_trade_build_info") ? text : undefined;
  } catch {
    return undefined;
  }
}

function judge(text: string, now: number): Verdict {
  const [, started = ""] = /^process_start_time_seconds (\S+)$/m.exec(text) ?? [];
  const hours = Math.max(1 / 60, (now / 1_000 - Number(started)) / 3_600);
  const losses = [
    ...text.matchAll(
      /^ingestion_stream_(?:reconnects|connect_failures)_total\{reason="(\w+)"\} (\d+)$/gm,
    ),
  ]
    .map(([, reason = "", count]) => ({ reason, count: Number(count) }))
    .filter(({ reason, count }) => reason !== "rotation" && reason !== "shutdown" && count > 0);
  const byReason = new Map<string, number>();
  for (const { reason, count } of losses) {
    byReason.set(reason, (byReason.get(reason) ?? 0) + count);
  }
  const sorted = [...byReason].sort(([, a], [, b]) => b - a);
  const total = sorted.reduce((sum, [, count]) => sum + count, 0);
  const since = hours < 2 ? `${Math.ceil(hours * 60)} min` : `${Math.round(hours)} h`;
  const found = `${total} lost or failed within ${since}`;
  if (total < MIN_LOSSES || total / hours < BAD_PER_HOUR) return { status: "ok", found };
  const [worst = ""] = sorted[0] ?? [];
  return {
    status: "warn",
    found: `${found}: ${sorted.map(([reason, count]) => `${reason} ${count}`).join(", ")}`,
    remedy: `${REMEDIES[worst] ?? "The log has the words of each."} No candle is lost by it, REST fetches what closes meanwhile; "npx black-trade ingest polling" does without the WebSocket.`,
  };
}
