import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { systemClock } from "../../src/clock.ts";
import {
  manySymbols,
  SeededMarket,
  seededSymbols,
  startSimulator,
} from "../../src/simulator/index.ts";
import type { ExchangeShape } from "./exchange.ts";

/**
 * The child of `startExchange`: simulator with room for every candle, and its archive behind a memory, so that a file is
 * made once only. Ends when its parent disconnects.
 */
const { symbols, startAt, days } = JSON.parse(process.argv[2] ?? "") as ExchangeShape;
const made = manySymbols(symbols.length).filter(({ symbol }) => symbols.includes(symbol));
const known = seededSymbols(symbols.filter((name) => !made.some(({ symbol }) => symbol === name)));
const all = [...known, ...made];
// Hours of minutes for the busiest of them; what is not asked for takes no room.
const market = new SeededMarket({ symbols: all, cachedHours: all.length * (days + 2) * 24 });
const simulator = await startSimulator({ market, clock: systemClock, startAt });
const files = new Map<string, { readonly status: number; readonly body: Buffer }>();

async function answer({ url = "/" }: IncomingMessage, response: ServerResponse): Promise<void> {
  const kept = files.get(url);
  const fetched = kept === undefined ? await fetch(`${simulator.url}${url}`) : undefined;
  const body = Buffer.from((await fetched?.arrayBuffer()) ?? new ArrayBuffer());
  const file = kept ?? { status: fetched?.status ?? 500, body };
  if (file.status === 200) files.set(url, file);
  response.writeHead(file.status, { "Content-Length": file.body.length });
  response.end(file.body);
}

const archive = createServer((request, response) => {
  answer(request, response).catch(() => response.destroy());
});
archive.listen(0, "127.0.0.1");
await once(archive, "listening");
const { port } = archive.address() as AddressInfo;
process.send?.({ url: simulator.url, archiveUrl: `http://127.0.0.1:${port}` });
await once(process, "disconnect");
archive.closeAllConnections();
archive.close();
await simulator.close();
