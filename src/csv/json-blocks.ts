import { type LineBlock, MAX_LINE_BYTES, type Start } from "./line-blocks.ts";

const OPEN = "[";
const CLOSE = "]";
/** What may stand between two rows. */
const BETWEEN = /^[\s,[\]]*$/;

/**
 * Cuts JSON of the form `[[…],[…],…]` into its inner arrays, each as a line of comma-separated cells without quotes. Lines
 * are counted in rows. Memory is bounded whatever the length of a row.
 */
export async function* jsonBlocks(
  chunks: AsyncIterable<Buffer>,
  start: Start,
): AsyncGenerator<LineBlock> {
  let rest = "";
  let offset = start.offset;
  let line = start.line;
  let isDropping = false;
  for await (const chunk of chunks) {
    const text = rest + chunk.toString("latin1");
    const lines: (string | undefined)[] = [];
    const faults = new Map<number, string>();
    let at = 0;
    for (;;) {
      const close = text.indexOf(CLOSE, at);
      if (close < 0) break;
      const open = text.lastIndexOf(OPEN, close);
      const before = text.slice(at, open < at ? close : open);
      // A bracket that closes nothing ends the outer array.
      const isRow = open >= at;
      if (isDropping || !BETWEEN.test(before)) {
        faults.set(lines.length, isDropping ? TOO_LONG : "between two rows stands something else");
        lines.push(undefined);
      }
      if (isRow && !isDropping) lines.push(text.slice(open + 1, close).replace(/["\s]/g, ""));
      isDropping = false;
      at = close + 1;
    }
    rest = text.slice(at);
    offset += at;
    if (rest.length > MAX_LINE_BYTES) {
      isDropping = true;
      offset += rest.length;
      rest = "";
    }
    if (lines.length > 0)
      yield { lines, faults, firstLine: line, endOffset: offset, isEnded: true };
    line += lines.length;
  }
  if (isDropping || !BETWEEN.test(rest)) {
    const reason = isDropping ? TOO_LONG : "the file ends in the middle of a row";
    const faults = new Map([[0, reason]]);
    const endOffset = offset + rest.length;
    yield { lines: [undefined], faults, firstLine: line, endOffset, isEnded: false };
  }
}

const TOO_LONG = `it is longer than ${MAX_LINE_BYTES} bytes`;
