import assert from "node:assert/strict";
import { test } from "node:test";
import { ProgressLine } from "./progress.ts";

function bench(isDrawn: boolean, columns = 80) {
  let now = 0;
  const written: string[] = [];
  const clock = { monotonic: () => now };
  const line = new ProgressLine({ columns }, isDrawn, clock, (text) => written.push(text));
  const pass = (ms: number): void => {
    now += ms;
  };
  return { line, written, pass };
}

test("on a terminal one line is drawn over, whole, with rate and what is left", () => {
  const { line, written, pass } = bench(true);
  const show = line.phase("checking");
  pass(10_000);
  show({ doneCandles: 400_000, totalCandles: 2_000_000 });
  pass(10);
  show({ doneCandles: 400_400, totalCandles: 2_000_000 });
  pass(10);
  show({ doneCandles: 2_000_000, totalCandles: 2_000_000 });
  line.end();
  assert.equal(written.length, 3, "drawn no more often than the eye can follow, and at the end");
  assert.match(
    written[0] ?? "",
    /^\r█+░+ checking · 20 % · 400,000 of 2,000,000 candles · 40,000\/s · 40 s left/,
  );
  for (const text of written) assert.ok(text.replaceAll("\u001b[K", "").length <= 80);
  assert.equal(written[2], "\r\u001b[K");
});

test("elsewhere there is a line every few seconds, anew for each phase", () => {
  const { line, written, pass } = bench(false);
  for (const what of ["checking", "asking for BTCUSDT 1m"]) {
    const show = line.phase(what);
    for (let step = 1; step <= 120; step += 1) {
      pass(100);
      show({ doneCandles: step * 1_000, totalCandles: 200_000 });
    }
  }
  line.end();
  assert.deepEqual(
    written.map((text) => text.trimEnd()),
    ["checking", "asking for BTCUSDT 1m"].flatMap((what) => [
      `${what} · 25 % · 50,000 of 200,000 candles · 10,000/s · 15 s left`,
      `${what} · 50 % · 100,000 of 200,000 candles · 10,000/s · 10 s left`,
    ]),
  );
});
