import assert from "node:assert/strict";
import { test } from "node:test";
import { BlackTradeError } from "../core/errors.ts";
import { refuseInvisibleRows, timescaleObstacle } from "./timescale.ts";

test("the extension is used when the server has it and loads it, whether or not it is created yet", () => {
  const facts = { isInstalled: false, isAvailable: true, isPreloaded: true };
  assert.equal(timescaleObstacle(facts), undefined);
  assert.equal(timescaleObstacle({ ...facts, isInstalled: true }), undefined);
  assert.match(
    timescaleObstacle({ ...facts, isPreloaded: false }) ?? "",
    /shared_preload_libraries/,
  );
  assert.match(timescaleObstacle({ ...facts, isAvailable: false }) ?? "", /does not have/);
});

test("a database whose compressed rows nobody would see is refused", () => {
  const facts = { isInstalled: true, isAvailable: true, isPreloaded: false };
  assert.throws(
    () => refuseInvisibleRows(facts),
    (error) => error instanceof BlackTradeError && error.code === "E_DB_UNSAFE",
  );
  refuseInvisibleRows({ ...facts, isPreloaded: true });
  refuseInvisibleRows({ ...facts, isInstalled: false });
});
