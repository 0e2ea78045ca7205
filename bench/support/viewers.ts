import { get } from "node:http";
import { percentilesOf } from "./live-program.ts";

/**
 * Viewers of the event stream, in a process of their own: `node bench/support/viewers.ts URL COUNT`. Tells on SIGTERM, as
 * one JSON document, how many closed candles they were told of, and how long after its close each was (ms).
 */
const [, , url = "", count = "1"] = process.argv;
const delays: number[] = [];
let closedCount = 0;
let formingCount = 0;
let droppedCount = 0;

for (let index = 0; index < Number(count); index += 1) {
  get(`${url}/api/v1/events`, (response) => {
    let rest = "";
    response.setEncoding("utf8").on("data", (part: string) => {
      const now = Date.now();
      const blocks = (rest + part).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        if (block.includes("event: closed")) {
          closedCount += 1;
          // The first viewer stands for all; reading every document would be a measurement of this process.
          if (index > 0) continue;
          const closeTime = /"closeTime":(\d+)/.exec(block)?.[1];
          delays.push(now - Number(closeTime) - 1);
        } else if (block.includes("event: forming")) formingCount += 1;
        else if (block.includes("event: dropped")) droppedCount += 1;
      }
    });
    if (index === Number(count) - 1) process.stdout.write("watching\n");
  }).on("error", () => undefined);
}

process.on("SIGTERM", () => {
  const closeToTold = percentilesOf(delays.length === 0 ? [Number.NaN] : delays);
  const report = { closedCount, formingCount, droppedCount, closeToTold };
  process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
});
