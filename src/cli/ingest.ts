import { Argument, Command } from "commander";
import { runIngest } from "../app.ts";
import { SETTINGS } from "../config.ts";
import {
  configOf,
  type ExitStatus,
  stopSignal,
  withDatabaseFlags,
  withHttpFlags,
  withSeriesFlags,
} from "./command.ts";
import type { Output } from "./output.ts";

/** `ingest`: the main job. */
export function ingestCommand(output: Output, end: (status: ExitStatus) => void): Command {
  return withHttpFlags(withSeriesFlags(withDatabaseFlags(new Command("ingest"))))
    .description("live ingestion with catching up, healing, status and HTTP; `npm start` runs it")
    .addArgument(new Argument("[mode]", "websocket (default) or polling"))
    .option("--backfill-days <days>", SETTINGS.BACKFILL_DAYS.help)
    .option("--no-http", "do not listen")
    .option("--json", "one JSON document at the end; the log as JSON lines")
    .addHelpText(
      "before",
      `Examples:
  npx black-trade ingest
  npx black-trade ingest --symbols BTCUSDT,SOLUSDT --timeframes 1m,1h
  npx black-trade ingest polling
  DATABASE_URL=postgresql://user:password@localhost:5432/black_trade npx black-trade ingest

Stop it with Ctrl-C: what waits is written first. Look at it with: npx black-trade status
`,
    )
    .action(
      async (
        mode: string | undefined,
        options: { http?: boolean; json?: boolean } & Record<string, unknown>,
      ) => {
        const config = configOf(options, mode === undefined ? {} : { INGESTION_MODE: mode });
        const stop = stopSignal();
        try {
          const summary = await runIngest(config, {
            signal: stop.signal,
            isHttpEnabled: options.http !== false,
            isLogPlain: !options.json && process.stderr.isTTY === true,
            hasColors: process.stderr.isTTY === true && process.stderr.hasColors(),
          });
          if (options.json) output.result(JSON.stringify(summary));
          end(stop.exitStatus());
        } finally {
          stop.dispose();
        }
      },
    );
}
