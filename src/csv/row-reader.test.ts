import assert from "node:assert/strict";
import { test } from "node:test";
import { parse } from "csv-parse/sync";
import fc from "fast-check";
import { ROW_PLAN } from "../../test/support/row-plan.ts";
import { cellsOf } from "./cells.ts";
import { RowReader } from "./row-reader.ts";

const T0 = Date.UTC(2024, 0, 1);
const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 0, 1);

test("cells without quotes are what a CSV parser makes of them, and with quotes too", () => {
  fc.assert(
    fc.property(
      fc.array(fc.stringMatching(/^[a-z0-9. é;]{0,8}$/), { minLength: 2, maxLength: 8 }),
      fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
      (cells, quoted) => {
        const text = cells.map((one, index) => (quoted[index] ? `"${one}"` : one)).join(",");
        fc.pre(text.trim() !== "");
        const [expected] = parse(text, { relax_column_count: true }) as string[][];
        assert.deepEqual(cellsOf(text, ","), expected);
        assert.deepEqual(cellsOf(cells.join(","), ","), cells);
      },
    ),
  );
  assert.equal(cellsOf('1,"2', ","), undefined);
});

test("refusals name what is wrong", () => {
  const refusalOf = (text: string): string => {
    const read = new RowReader(ROW_PLAN, NOW).read(text.split(","));
    return "code" in read ? `${read.code}: ${read.detail}` : "taken";
  };
  const good = `${T0},x,2,3,1,2,9,${T0 + HOUR - 1},18,5,4,8`;
  assert.equal(refusalOf(good), "taken");
  assert.match(refusalOf(good.replace(String(T0), "abc")), /^time: its time is "abc"/);
  assert.match(refusalOf(good.replace(String(T0), String(T0 + 60_000))), /^off-grid/);
  assert.match(refusalOf(good.replace(String(T0), String(NOW + HOUR))), /^from-the-future/);
  assert.match(refusalOf(good.replace(String(T0), String(T0 / 1_000))), /^mixed-units/);
  assert.match(refusalOf(good.replace(",2,3,1,2,", ",2,1,3,2,")), /^high-below-low/);
  assert.match(
    refusalOf(good.replace(",2,3,1,2,", ",NaN,3,1,2,")),
    /^not-a-decimal: its open is "NaN"/,
  );
  assert.match(refusalOf(good.replace(",2,3,1,2,", ",0,3,0,2,")), /^price-not-positive/);
  assert.match(refusalOf(good.slice(0, 40)), /^columns: it has \d+ columns, not 12/);
  assert.match(refusalOf(good.replace(",5,4", ",5.5,4")), /^not-a-count/);
  // A line end got lost: its last value would run into the next row's time.
  assert.match(
    refusalOf(good + good),
    /^columns: it has 23 columns, not 12: two rows run together/,
  );
  assert.equal(refusalOf(good + ",".repeat(30)), "taken");
  // Torn in mid-line, and the next row behind it: wherever it was torn, nothing is made of both.
  for (let cut = good.lastIndexOf(","); cut > 0; cut = good.lastIndexOf(",", cut - 1)) {
    const torn = good.slice(0, cut + 2) + good;
    assert.match(refusalOf(torn), /^columns|^not-a-|^mixed-units|^time/, torn);
  }
  const ragged = new RowReader({ ...ROW_PLAN, hasOddWidths: true }, NOW);
  for (const taken of [`${good},extra`, `${good},1,2,3`])
    assert.ok("candle" in ragged.read(taken.split(",")), taken);
  const wide = new RowReader({ ...ROW_PLAN, usualWidth: 30 }, NOW);
  assert.ok("candle" in wide.read([...good.split(","), ...new Array(18).fill("more")]));
});
