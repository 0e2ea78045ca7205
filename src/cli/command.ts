import type { Command } from "commander";
import {
  type Config,
  type Flags,
  loadConfig,
  SETTINGS,
  type SettingName,
  secretsOf,
} from "../config.ts";
import { BlackTradeError } from "../core/errors.ts";
import { redactor } from "../telemetry/log.ts";
import type { Output } from "./output.ts";

/** What a command ends with: the exit status of design §6. */
export type ExitStatus = 0 | 1 | 2 | 3 | 4 | 130 | 143;

/** Flags that stand for settings, by the long name of the flag. */
const FLAG_SETTINGS: Readonly<Record<string, SettingName>> = {
  databaseUrl: "DATABASE_URL",
  dataDir: "DATA_DIR",
  symbols: "TRADING_PAIRS",
  timeframes: "TIMEFRAMES",
  backfillDays: "BACKFILL_DAYS",
  httpHost: "HTTP_HOST",
  httpPort: "HTTP_PORT",
  logLevel: "LOG_LEVEL",
};

/** Adds the flags that every command with a database has. */
export function withDatabaseFlags(command: Command): Command {
  return command
    .option("--database-url <url>", SETTINGS.DATABASE_URL.help)
    .option(
      "--data-dir <folder>",
      `${SETTINGS.DATA_DIR.help} (default: ${SETTINGS.DATA_DIR.fallback})`,
    )
    .option("--log-level <level>", SETTINGS.LOG_LEVEL.help);
}

/**
 * The configuration under the flags of a command.
 * @throws {BlackTradeError} E_CONFIG
 */
export function configOf(options: Readonly<Record<string, unknown>>, more: Flags = {}): Config {
  const flags: Partial<Record<SettingName, string>> = { ...more };
  for (const [flag, setting] of Object.entries(FLAG_SETTINGS)) {
    const value = options[flag];
    if (typeof value === "string") flags[setting] = value;
  }
  return loadConfig(flags);
}

/** Writes an error as the user sees it: what, and what to do. @returns the exit status that it stands for */
export function showError(output: Output, error: unknown, config?: Config): ExitStatus {
  const redact = redactor(config === undefined ? [] : secretsOf(config));
  if (error instanceof BlackTradeError) {
    const [first = "", ...rest] = error.message.split("\n");
    if (error.code === "E_CONFIG") {
      output.note(`error ${error.code}: ${rest.length + 1} setting(s) are wrong`);
      for (const line of [first, ...rest]) output.note(`  ${redact(line)}`);
    } else {
      output.note(`error ${error.code}: ${redact(error.message)}`);
    }
    output.note(`  → ${redact(error.remedy)}`);
    return error.exit as ExitStatus;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  output.note(
    `error: this should not happen; please report it with the lines below\n${redact(text)}`,
  );
  return 1;
}

/** A signal that aborts at SIGINT and SIGTERM; the second one ends the process at once. */
export function stopSignal(): {
  readonly signal: AbortSignal;
  exitStatus(): ExitStatus;
  dispose(): void;
} {
  const controller = new AbortController();
  let status: ExitStatus = 0;
  const onSignal = (name: NodeJS.Signals): void => {
    if (controller.signal.aborted) process.exit(1);
    status = name === "SIGINT" ? 130 : 143;
    controller.abort();
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  return {
    signal: controller.signal,
    exitStatus: () => status,
    dispose: () => {
      process.off("SIGINT", onSignal);
      process.off("SIGTERM", onSignal);
    },
  };
}
