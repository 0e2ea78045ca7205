import { WebsocketClient } from "binance";
import ccxt from "ccxt";
import pg from "pg";

/**
 * A collector as users write one, in a process of its own: `node bench/support/user-collector.ts ccxt|binance JSON`, with
 * addresses, database and symbols in the JSON. A client library brings candles; what it brings is upserted row by row, by
 * the library's own keys. Prints "ready" when every symbol has a row.
 */
interface Setting {
  readonly url: string;
  readonly wsUrl: string;
  readonly databaseUrl: string;
  readonly symbols: readonly string[];
}

const [, , library, document = "{}"] = process.argv;
const { url, wsUrl, databaseUrl, symbols } = JSON.parse(document) as Setting;
const pool = new pg.Pool({ connectionString: databaseUrl });
const seen = new Set<string>();
/** The ccxt way to a closed candle does not exist: whatever came last is the row. */
const UPSERT = `
  insert into ohlcv (symbol, timestamp, open, high, low, close, volume) values ($1, $2, $3, $4, $5, $6, $7)
  on conflict (symbol, timestamp) do update set
    open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume`;

async function save(symbol: string, values: readonly unknown[]): Promise<void> {
  await pool.query({ name: "save", text: UPSERT, values: [symbol, ...values] });
  if (seen.size === symbols.length) return;
  seen.add(symbol);
  if (seen.size === symbols.length) process.stdout.write("ready\n");
}

async function byCcxt(): Promise<void> {
  const exchange = new ccxt.pro.binance({ options: { fetchMarkets: { types: ["spot"] } } });
  const urls = exchange.urls as { api: Record<string, unknown> };
  urls.api.public = `${url}/api/v3`;
  urls.api.ws = { spot: `${wsUrl}/stream/ws` };
  await exchange.loadHttpProxyAgent();
  await exchange.loadMarkets();
  const ids = new Map(
    symbols.map((id) => [String((exchange.market(id) as { symbol: string }).symbol), id]),
  );
  const wanted = [...ids.keys()].map((symbol) => [symbol, "1s"]);
  for (;;) {
    try {
      const news = await exchange.watchOHLCVForSymbols(wanted);
      for (const [symbol, candles] of Object.entries(news)) {
        for (const candle of Object.values(candles)[0] ?? []) {
          await save(ids.get(symbol) ?? symbol, candle.slice(0, 6));
        }
      }
    } catch (error) {
      process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    }
  }
}

function byBinance(): void {
  const silent = { trace: () => undefined, info: () => undefined, error: () => undefined };
  const client = new WebsocketClient({ wsUrl, beautify: true }, silent);
  client.on("exception", () => undefined);
  client.on("formattedMessage", (event) => {
    if (Array.isArray(event) || event.eventType !== "kline" || !event.kline.final) return;
    const { symbol, startTime, open, high, low, close, volume } = event.kline;
    save(symbol, [startTime, open, high, low, close, volume]).catch((error: unknown) => {
      process.stderr.write(`${String(error)}\n`);
    });
  });
  const topics = symbols.map((symbol) => `${symbol.toLowerCase()}@kline_1s`);
  client.subscribe(topics, "main").catch(() => process.exit(1));
}

if (library === "ccxt") await byCcxt();
else byBinance();
