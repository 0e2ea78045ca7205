import { Spot, type SpotRestAPI } from "@binance/spot";
import { MainClient, WebsocketClient } from "binance";
import ccxt from "ccxt";

/** Where a client that was made for Binance is pointed. */
export interface Target {
  readonly url: string;
  readonly wsUrl: string;
}

/** ccxt, with everything but the addresses as it comes. */
export async function ccxtFor({ url, wsUrl }: Target) {
  const exchange = new ccxt.pro.binance({ options: { fetchMarkets: { types: ["spot"] } } });
  const urls = exchange.urls as { api: Record<string, unknown> };
  urls.api.public = `${url}/api/v3`;
  // It tells spot from swap by `/stream` in the address.
  urls.api.ws = { spot: `${wsUrl}/stream/ws` };
  // Without this it does not take ws:// addresses.
  await exchange.loadHttpProxyAgent();
  return exchange;
}

/** `binance` of tiagosiebler. */
export function binanceFor({ url, wsUrl }: Target): { rest: MainClient; streams: WebsocketClient } {
  const streams = new WebsocketClient({ wsUrl, beautify: false }, SILENT);
  // Without a listener a lost connection would end the process.
  streams.on("exception", () => undefined);
  return { rest: new MainClient({ baseUrl: url }), streams };
}

/** `@binance/spot` of Binance. */
export function spotFor({ url, wsUrl }: Target): Spot {
  return new Spot({
    configurationRestAPI: { apiKey: "none", apiSecret: "none", basePath: url },
    configurationWebsocketStreams: { wsURL: wsUrl },
  });
}

/** Intervals of `@binance/spot` are of a type of their own, with the wire's words as values. */
export function spotInterval<Interval = SpotRestAPI.KlinesIntervalEnum>(text: string): Interval {
  return text as Interval;
}

const SILENT = { trace: () => undefined, info: () => undefined, error: () => undefined };
