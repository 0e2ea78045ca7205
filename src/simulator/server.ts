import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Clock } from "../core/ports.ts";
import { DEFAULT_LIMITS } from "../wire/limits.ts";
import { ArchiveServer } from "./archive.ts";
import { ControlServer } from "./control.ts";
import type { Exchange } from "./exchange.ts";
import { Faults } from "./faults.ts";
import { Journal } from "./journal.ts";
import type { Market } from "./market.ts";
import { connectMarket } from "./market-faults.ts";
import { DEFAULT_PACE, DEFAULT_SWITCHES, type SimulatorOptions } from "./options.ts";
import { RestServer } from "./rest.ts";
import { StreamServer } from "./stream-server.ts";

/** A running simulator. */
export interface Simulator {
  /** `http://127.0.0.1:port`: base of REST, of the archive and of `/sim/`. */
  readonly url: string;
  /** `ws://127.0.0.1:port`: base of the streams. */
  readonly wsUrl: string;
  readonly port: number;
  /** Exchange time, epoch ms. */
  now(): number;
  readonly faults: Faults;
  readonly journal: Journal;
  readonly market: Market;
  /** Cuts all connections and frees the port. */
  close(): Promise<void>;
}

/** Between two looks at what is due, in ms of the clock. */
const TICK_MS = 10;
const IDLE_TICK_MS = 50;

/**
 * Starts Binance's spot market data on one port: REST, streams, archive, and `/sim/` to control it.
 * @throws the error of listening, e.g. EADDRINUSE
 */
export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  const { clock } = options;
  const exchange = exchangeOf(options, clock);
  const stop = new AbortController();
  connectMarket(exchange.market, exchange.faults);
  const rest = new RestServer(exchange, clock, stop.signal);
  const streams = new StreamServer(exchange);
  const archive = new ArchiveServer(exchange);
  const control = new ControlServer(exchange);
  const route = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = request.url ?? "/";
    if (path.startsWith("/sim/")) await control.handle(request, response);
    else if (path.startsWith("/data/")) await archive.handle(request, response);
    else await rest.handle(request, response);
  };
  const server = createServer((request, response) => {
    route(request, response).catch((error: unknown) => {
      exchange.journal.fault(`answer failed: ${String(error)}`);
      response.destroy();
    });
  });
  server.on("upgrade", (request, tcp, head) => streams.upgrade(request, tcp, head));
  const host = options.host ?? "127.0.0.1";
  const port = await listen(server, options.port ?? 0, host);
  const ticking = tick(exchange, streams, clock, stop.signal);
  return {
    url: `http://${host}:${port}`,
    wsUrl: `ws://${host}:${port}`,
    port,
    now: () => exchange.now(),
    faults: exchange.faults,
    journal: exchange.journal,
    market: exchange.market,
    close: async () => {
      stop.abort();
      streams.close();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await ticking;
    },
  };
}

function exchangeOf(options: SimulatorOptions, clock: Clock): Exchange {
  const offsetMs =
    options.startAt === undefined ? (options.offsetMs ?? 0) : options.startAt - clock.now();
  const now = (): number => Math.floor(clock.now() + offsetMs);
  const faults = new Faults(now);
  const journal = new Journal(now);
  faults.onChange((change) => {
    const fault = change.kind === "action" ? change.action : change.active.fault;
    journal.fault(`${change.kind} ${JSON.stringify(fault)}`);
  });
  return {
    market: options.market,
    now,
    toldTime: () => now() + (faults.find("clockSkew")?.ms ?? 0),
    faults,
    journal,
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    pace: { ...DEFAULT_PACE, ...options.pace },
    switches: { ...DEFAULT_SWITCHES, ...options.switches },
  };
}

async function listen(
  server: ReturnType<typeof createServer>,
  port: number,
  host: string,
): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
  return (server.address() as AddressInfo).port;
}

async function tick(
  exchange: Exchange,
  streams: StreamServer,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const isBehind = streams.tick(exchange.now());
    const pause = streams.streamCount > 0 ? TICK_MS : IDLE_TICK_MS;
    try {
      await clock.sleep(isBehind ? 0 : pause, signal);
    } catch {
      return;
    }
  }
}
