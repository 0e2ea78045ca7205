import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { describe, test } from "node:test";
import type pg from "pg";
import { CopyOut } from "./copy-out.ts";

function message(code: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(code, 0, "latin1");
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const ROWS = ["one", "", "three".repeat(20)];
const NOTICE = message("N", Buffer.from("a notice"));
const END = [message("c", Buffer.alloc(0)), message("C", Buffer.from("COPY 3\0"))];
const ANSWER = Buffer.concat([
  message("H", Buffer.from([1, 0, 0])),
  ...ROWS.flatMap((row) => [message("d", Buffer.from(row)), NOTICE]),
  ...END,
]);

/** A connection of `pg` whose parser notes what it is given. */
function begin(take?: (row: string) => void) {
  const stream = new EventEmitter();
  const parsed: Buffer[] = [];
  const queries: string[] = [];
  const rows: string[] = [];
  stream.on("data", (bytes: Buffer) => parsed.push(bytes));
  const copy = new CopyOut(
    "copy …",
    (view, at, end) => {
      const row = Buffer.from(view.buffer, view.byteOffset + at, end - at).toString();
      take?.(row);
      rows.push(row);
    },
    () => undefined,
  );
  copy.submit({ stream, query: (text: string) => queries.push(text) } as unknown as pg.Connection);
  return { copy, stream, parsed, queries, rows };
}

describe("rows of COPY read on the wire", () => {
  test("come whole wherever the answer is cut; all else goes to the client", async () => {
    for (let size = 1; size <= ANSWER.length; size += 1) {
      const { copy, stream, parsed, queries, rows } = begin();
      assert.deepEqual(queries, ["copy …"]);
      for (let at = 0; at < ANSWER.length; at += size) {
        stream.emit("data", ANSWER.subarray(at, at + size));
      }
      assert.deepEqual(rows, ROWS);
      assert.deepEqual(
        Buffer.concat(parsed),
        Buffer.concat([...ROWS.map(() => NOTICE), ...END]),
        `in pieces of ${size}`,
      );
      copy.handleCommandComplete({ text: "COPY 3" });
      copy.handleReadyForQuery();
      await copy.done;
      assert.equal(copy.rowCount, ROWS.length);
    }
  });

  test("an error of the server ends it, and the connection is the client's again", async () => {
    const { copy, stream, parsed } = begin();
    const refused = message("E", Buffer.from("SERROR\0\0"));
    stream.emit("data", Buffer.concat([message("d", Buffer.from("row")), refused]));
    assert.deepEqual(Buffer.concat(parsed), refused);
    copy.handleError(new Error("refused"));
    await assert.rejects(copy.done, /refused/);
    const next = message("Z", Buffer.from("I"));
    stream.emit("data", next);
    assert.deepEqual(parsed.at(-1), next);
  });

  test("a fault of who takes the rows ends it at once, and only once", async () => {
    const { copy, stream, rows } = begin((row) => assert.notEqual(row, "", "an empty row"));
    stream.emit("data", ANSWER);
    await assert.rejects(copy.done, /an empty row/);
    stream.emit("data", ANSWER);
    assert.deepEqual(rows, ["one"]);
  });
});
