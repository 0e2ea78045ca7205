import { WebSocketServer } from "ws";

/**
 * A stream that sends as fast as it is taken: `node bench/support/frame-server.ts FRAMES SERIES`. Prints its port. A socket
 * that has subscribed (or names `/go`) is sent so many forming candles, spread over so many series; the last frame closes.
 */
const [, , frames = "300000", seriesCount = "1000"] = process.argv;
const openTime = Math.floor(Date.now() / 60_000) * 60_000;
const texts = Array.from({ length: Number(seriesCount) }, (_, index) => frameOf(index, false));
const last = frameOf(0, true);

function frameOf(index: number, isClosed: boolean): string {
  const symbol = `S${index}USDT`;
  const price = (29_000 + index / 8).toFixed(8);
  return JSON.stringify({
    stream: `${symbol.toLowerCase()}@kline_1m`,
    data: {
      e: "kline",
      E: openTime + (isClosed ? 60_002 : 2_502),
      s: symbol,
      k: {
        ...{ t: openTime, T: openTime + 59_999, s: symbol, i: "1m", f: 1, L: 31 },
        ...{ o: price, c: price, h: price, l: price, v: "0.20926000", n: 31, x: isClosed },
        ...{ q: "6076.58918320", V: "0.10436000", Q: "3030.45472920", B: "0" },
      },
    },
  });
}

const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
server.on("listening", () => {
  process.stdout.write(`${(server.address() as { port: number }).port}\n`);
});
server.on("connection", (socket, request) => {
  let subscribed = 0;
  let sent = 0;
  const pump = (): void => {
    for (let burst = 0; burst < 500 && sent < Number(frames); burst += 1, sent += 1) {
      socket.send(texts[sent % texts.length] ?? "");
    }
    if (sent >= Number(frames)) socket.send(last);
    else socket.send(texts[0] ?? "", () => setImmediate(pump));
  };
  if (request.url === "/go") pump();
  socket.on("message", (data) => {
    const { params = [], id } = JSON.parse(String(data)) as { params?: string[]; id: number };
    socket.send(JSON.stringify({ result: null, id }));
    subscribed += params.length;
    if (subscribed === Number(seriesCount)) pump();
  });
});
