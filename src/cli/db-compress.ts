import { Command } from "commander";
import { BlackTradeError } from "../core/errors.ts";
import type { CompressionFacts } from "../store/index.ts";
import { type ExitStatus, untilStopped, withDatabaseFlags } from "./command.ts";
import { type Answer, showAnswer, withTables } from "./database-command.ts";
import { byteSize, duration, instant, type Output } from "./output.ts";
import { parseAge } from "./time-argument.ts";

interface CompressOptions {
  readonly after: string;
  readonly off?: boolean;
  readonly json?: boolean;
}

const DAY_MS = 86_400_000;
/** Candles are confirmed within hours; gaps that the exchange fills later are written into compressed chunks, which is slower. */
const MIN_AFTER_MS = DAY_MS;

/** `db compress`: candles of chunks that have settled become columns. */
export function compressCommand(output: Output, end: (status: ExitStatus) => void): Command {
  return withDatabaseFlags(new Command("compress"))
    .description("with TimescaleDB: compress candles that have settled, now and from now on")
    .option("--after <age>", "how long ago a chunk of 90 days must have ended", "30d")
    .option("--off", "compress no more; what is compressed stays so")
    .option("--json", "one JSON document")
    .addHelpText(
      "before",
      `Examples:
  npx black-trade db compress                compress what ended 30 days ago, and go on doing so
  npx black-trade db compress --after 90d    the same, later
  npx black-trade db compress --off          stop; compressed chunks stay, and stay readable and writable

Needs TimescaleDB under its community licence; plain PostgreSQL has nothing like it, and the command says so.
Exit status: 0 done, 1 the server cannot compress, 3 some chunks were in use (the policy, or a repeat, comes to them).
`,
    )
    .action(async (options: CompressOptions) => {
      const afterMs = afterOf(options.after);
      const stays = "what is compressed stays so, the policy goes on with the rest";
      await untilStopped(output, end, stays, (signal) =>
        withTables({ ...options }, async ({ compression }) => {
          if (options.off) {
            const wasOn = await compression.stop();
            const facts = await compression.facts();
            showAnswer(output, options.json, stopped(wasOn, facts));
            end(0);
            return;
          }
          const before = await compression.facts();
          const { chunks, busyCount } = await compression.compress(
            afterMs,
            signal,
            (done, total, range) =>
              output.note(
                `chunk ${done + 1} of ${total}: ${dayText(range.from)} to ${dayText(range.to)}`,
              ),
          );
          const facts = await compression.facts();
          showAnswer(output, options.json, {
            json: { afterMs, chunks, busyCount, before, ...facts },
            lines: [
              `policy      chunks are compressed ${duration(afterMs)} after their end`,
              `compressed  ${chunks.length} chunks now, ${facts.compressedCount} of ${facts.chunkCount} in all`,
              ...sizeLines(facts),
              `all candles ${byteSize(before.totalBytes)} before, ${byteSize(facts.totalBytes)} now`,
              ...(busyCount === 0
                ? []
                : [`${busyCount} chunks were in use; the policy comes to them`]),
            ],
          });
          end(busyCount === 0 ? 0 : 3);
        }),
      );
    });
}

/** The lines of `db status` about compression. */
export function compressionLines(facts: CompressionFacts): string[] {
  const { obstacle, afterMs, chunkCount, compressedCount } = facts;
  if (obstacle !== undefined)
    return [`candles     ${byteSize(facts.totalBytes)}; not compressed: ${obstacle}`];
  const policy =
    afterMs === undefined
      ? 'no policy ("npx black-trade db compress" sets one)'
      : `${duration(afterMs)} after a chunk's end`;
  return [
    `candles     ${byteSize(facts.totalBytes)}`,
    `compression ${policy}; ${compressedCount} of ${chunkCount} chunks are compressed`,
    ...sizeLines(facts),
  ];
}

function stopped(wasOn: boolean, facts: CompressionFacts): Answer {
  const { obstacle, compressedCount } = facts;
  const stays =
    compressedCount === 0
      ? "nothing is compressed"
      : `${compressedCount} chunks stay compressed; they are read and written as before`;
  return {
    json: { wasOn, ...facts },
    lines: [
      wasOn ? "the policy is gone: nothing more is compressed" : "there was no policy",
      obstacle === undefined ? stays : `nothing is compressed here: ${obstacle}`,
    ],
  };
}

function sizeLines({
  compressedCount,
  uncompressedBytes,
  compressedBytes,
}: CompressionFacts): string[] {
  if (compressedCount === 0 || uncompressedBytes === 0) return [];
  const saved = Math.round((1 - compressedBytes / uncompressedBytes) * 100);
  return [
    `sizes       ${byteSize(uncompressedBytes)} became ${byteSize(compressedBytes)} (${saved} % less)`,
  ];
}

function afterOf(text: string): number {
  const afterMs = parseAge("--after", text);
  if (afterMs >= MIN_AFTER_MS) return afterMs;
  throw new BlackTradeError(
    "E_USAGE",
    `--after: ${text} is too soon: candles are still confirmed`,
    {
      remedy: "give a day or more; 30d is usual",
    },
  );
}

function dayText(timeMs: number): string {
  return instant(timeMs).slice(0, 10);
}
