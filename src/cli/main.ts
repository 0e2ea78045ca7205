import { Command, CommanderError } from "commander";
import { maskPasswords } from "../store/index.ts";
import { packageVersion } from "../version.ts";
import { type ExitStatus, showError } from "./command.ts";
import { dbCommand } from "./db.ts";
import { demoCommand } from "./demo.ts";
import { doctorCommand } from "./doctor.ts";
import { exportCommand } from "./export.ts";
import { backfillCommand, fillGapsCommand } from "./history.ts";
import { importCsvCommand } from "./import-csv.ts";
import { ingestCommand } from "./ingest.ts";
import { processOutput } from "./output.ts";
import { serveCommand } from "./serve.ts";
import { simulateCommand } from "./simulate.ts";
import { statusCommand } from "./status.ts";
import { verifyCommand } from "./verify.ts";

/** In the order of the help. */
const COMMANDS = [
  ingestCommand,
  demoCommand,
  statusCommand,
  backfillCommand,
  fillGapsCommand,
  verifyCommand,
  importCsvCommand,
  exportCommand,
  serveCommand,
  dbCommand,
  doctorCommand,
  simulateCommand,
];

/**
 * Runs one command and ends the process with its exit status (design §6).
 * @param argv as of `process.argv`
 */
export async function main(argv: readonly string[]): Promise<void> {
  const output = processOutput();
  let status: ExitStatus = 0;
  const end = (value: ExitStatus): void => {
    status = value;
  };
  const program = new Command("black-trade")
    .description(
      "Candles from the exchange into PostgreSQL: exactly once, digit for digit, every gap explained.",
    )
    .version(packageVersion())
    .addHelpText(
      "before",
      `Examples:
  npx black-trade demo      see it at work; no network, no set-up
  npx black-trade ingest    collect candles
  npx black-trade status    how every series is, and why
`,
    )
    .showHelpAfterError("(add --help for the options and examples)")
    .showSuggestionAfterError()
    // A connection URL in the wrong place is repeated by the message.
    .configureOutput({ writeErr: (text) => process.stderr.write(maskPasswords(text)) })
    .exitOverride();
  for (const make of COMMANDS) {
    const command = make(output, end);
    for (const one of [command, ...command.commands]) one.copyInheritedSettings(program);
    program.addCommand(command);
  }
  try {
    await program.parseAsync(argv);
  } catch (error) {
    if (error instanceof CommanderError) status = error.exitCode === 0 ? 0 : 2;
    else status = showError(output, error);
  }
  process.exitCode = status;
}
