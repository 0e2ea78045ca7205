import { HttpProblem } from "../problem.ts";

/** Where a page goes on: forwards from an open time, or backwards before one. */
export interface Cursor {
  readonly direction: "forwards" | "backwards";
  /** Epoch ms: the first open time of the next page, or the one that it ends before. */
  readonly time: number;
}

/** A cursor as clients see it: text that says nothing to them and fits into a URL. */
export function cursorText({ direction, time }: Cursor): string {
  return Buffer.from(`${direction === "forwards" ? "f" : "b"}${time}`).toString("base64url");
}

/** @throws {HttpProblem} 400 for what {@link cursorText} did not make */
export function readCursor(text: string): Cursor {
  const match = /^([fb])(\d{1,15})$/.exec(Buffer.from(text, "base64url").toString("latin1"));
  if (match === null) {
    throw new HttpProblem("E_HTTP_REQUEST", "wrong query: cursor: was not given by this server", {
      remedy: "Pass on nextCursor of the last answer as it is, or leave it out to begin anew.",
    });
  }
  return { direction: match[1] === "f" ? "forwards" : "backwards", time: Number(match[2]) };
}
