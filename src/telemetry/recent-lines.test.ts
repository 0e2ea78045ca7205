import assert from "node:assert/strict";
import { test } from "node:test";
import { openLog } from "./log.ts";
import { RecentLines } from "./recent-lines.ts";

test("the newest lines are kept as a person reads them, secrets masked, and no more than 300", () => {
  const recent = new RecentLines();
  const log = openLog({
    level: "info",
    isPlain: false,
    hasColors: false,
    secrets: ["hunter2"],
    write: () => undefined,
    recent,
  });
  log.debug("not wanted");
  log.warn("the password is hunter2\nand a second line");
  const [first] = recent.after(0);
  assert.equal(first?.level, "warn");
  assert.equal(first?.text, "the password is ***\\nand a second line");
  assert.ok(Math.abs((first?.time ?? 0) - Date.now()) < 5_000);
  for (let line = 2; line <= 400; line += 1) log.info(`line ${line}`);
  assert.equal(recent.after(0).length, 300);
  assert.equal(recent.after(0)[0]?.text, "line 101");
  assert.deepEqual(
    recent.after(398).map(({ text }) => text),
    ["line 399", "line 400"],
  );
});
