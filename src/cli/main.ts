import { Command, CommanderError } from "commander";
import { maskPasswords } from "../store/index.ts";
import { packageVersion } from "../version.ts";
import { type ExitStatus, showError } from "./command.ts";
import { type Output, processOutput } from "./output.ts";

type MakeCommand = (output: Output, end: (status: ExitStatus) => void) => Command;

/** In the order of the help. Only the one that is named is loaded: the ingester needs no simulator, for months. */
const COMMANDS: ReadonlyMap<string, () => Promise<MakeCommand>> = new Map([
  ["ingest", async () => (await import("./ingest.ts")).ingestCommand],
  ["demo", async () => (await import("./demo.ts")).demoCommand],
  ["status", async () => (await import("./status.ts")).statusCommand],
  ["backfill", async () => (await import("./history.ts")).backfillCommand],
  ["fill-gaps", async () => (await import("./history.ts")).fillGapsCommand],
  ["verify", async () => (await import("./verify.ts")).verifyCommand],
  ["import-csv", async () => (await import("./import-csv.ts")).importCsvCommand],
  ["export", async () => (await import("./export.ts")).exportCommand],
  ["serve", async () => (await import("./serve.ts")).serveCommand],
  ["db", async () => (await import("./db.ts")).dbCommand],
  ["doctor", async () => (await import("./doctor.ts")).doctorCommand],
  ["simulate", async () => (await import("./simulate.ts")).simulateCommand],
]);

/** The command that is named, or all of them for a help that lists them or an error that suggests one. */
async function commandsFor(argv: readonly string[]): Promise<readonly MakeCommand[]> {
  const named = COMMANDS.get(argv[2] ?? "");
  const wanted = named === undefined ? [...COMMANDS.values()] : [named];
  return Promise.all(wanted.map((load) => load()));
}

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
  for (const make of await commandsFor(argv)) {
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
