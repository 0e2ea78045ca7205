import { decodeFrame } from "../src/exchanges/binance/codec.ts";

/**
 * Frames a second through the Binance codec beside JSON.parse alone, one core. Run: `node bench/binance-codec.ts`.
 * The frames are made here, shaped as Binance sends a forming candle on a combined connection.
 */
const FRAME_COUNT = 1_000;
const ROUND_COUNT = 300;
const REPEAT_COUNT = 5;

const frames = Array.from({ length: FRAME_COUNT }, (_, index) => {
  const symbol = `COIN${index % 400}USDT`;
  const openTime = 1_790_000_040_000 + Math.floor(index / 400) * 60_000;
  const price = (29_000 + index / 100).toFixed(8);
  return JSON.stringify({
    stream: `${symbol.toLowerCase()}@kline_1m`,
    data: {
      e: "kline",
      E: openTime + 2_502,
      s: symbol,
      k: {
        t: openTime,
        T: openTime + 59_999,
        s: symbol,
        i: "1m",
        f: 1_384_844_002 + index,
        L: 1_384_844_032 + index,
        o: price,
        c: price,
        h: price,
        l: price,
        v: "0.20926000",
        n: 31,
        x: false,
        q: "6076.58918320",
        V: "0.10436000",
        Q: "3030.45472920",
        B: "0",
      },
    },
  });
});

function framesPerSecond(read: (frame: string) => unknown): number {
  let best = 0;
  for (let repeat = 0; repeat < REPEAT_COUNT; repeat += 1) {
    const began = performance.now();
    for (let round = 0; round < ROUND_COUNT; round += 1) for (const frame of frames) read(frame);
    best = Math.max(best, (FRAME_COUNT * ROUND_COUNT) / ((performance.now() - began) / 1_000));
  }
  return best;
}

if (frames.some((frame) => decodeFrame(frame).kind !== "candle")) throw new Error("a frame is bad");
const parse = framesPerSecond(JSON.parse);
const codec = framesPerSecond(decodeFrame);
process.stdout.write(
  `JSON.parse ${Math.round(parse)} frames/s  codec ${Math.round(codec)} frames/s  ` +
    `codec adds ${((1e9 / codec - 1e9 / parse) | 0).toString()} ns a frame (node ${process.version})\n`,
);
