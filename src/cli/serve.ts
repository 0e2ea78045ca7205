import { Command } from "commander";
import { runServe } from "../app.ts";

import {
  configOfExisting,
  type ExitStatus,
  stopSignal,
  withDatabaseFlags,
  withHttpFlags,
} from "./command.ts";
import type { Output } from "./output.ts";

/** `serve`: HTTP without ingesting. */
export function serveCommand(output: Output, end: (status: ExitStatus) => void): Command {
  return withHttpFlags(withDatabaseFlags(new Command("serve")))
    .description("HTTP face without ingesting: API, dashboard, Binance-compatible server, metrics")
    .option("--json", "one JSON document with the address when it is ready; the log as JSON lines")
    .addHelpText(
      "before",
      `Examples:
  npx black-trade serve
  npx black-trade serve --http-port 9091
  DATABASE_URL=postgresql://reader:password@db:5432/black_trade npx black-trade serve
  HTTP_HOST=0.0.0.0 API_TOKEN="$(openssl rand -base64 24)" npx black-trade serve

Beside an ingester, or on another machine. Closed candles show as they are stored, by whichever process; forming candles
are only in the process that ingests. A database user that may only read is enough, but for jobs.
`,
    )
    .action(async (options: { json?: boolean } & Record<string, unknown>) => {
      const config = configOfExisting(options);
      const stop = stopSignal();
      try {
        await runServe(config, {
          signal: stop.signal,
          isLogPlain: !options.json && process.stderr.isTTY === true,
          hasColors: process.stderr.isTTY === true && process.stderr.hasColors(),
          onReady: (url) => {
            output.result(options.json ? JSON.stringify({ url }) : url);
          },
        });
        end(stop.exitStatus());
      } finally {
        stop.dispose();
      }
    });
}
