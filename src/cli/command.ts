import { readdirSync } from "node:fs";
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
import { fileError } from "../core/file-fault.ts";
import { maskPasswords } from "../store/index.ts";
import { redactor } from "../telemetry/log.ts";
import { type Output, readerGone } from "./output.ts";

/** What a command ends with: the exit status of design §6. */
export type ExitStatus = 0 | 1 | 2 | 3 | 4 | 129 | 130 | 143;

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
    .option("--data-dir <folder>", helpWithDefault("DATA_DIR"))
    .option("--log-level <level>", SETTINGS.LOG_LEVEL.help);
}

/** Adds the flags that choose which series are collected. */
export function withSeriesFlags(command: Command): Command {
  return command
    .option("--symbols <list>", helpWithDefault("TRADING_PAIRS"))
    .option("--timeframes <list>", helpWithDefault("TIMEFRAMES"));
}

/** Adds the flags that say where HTTP is served. */
export function withHttpFlags(command: Command): Command {
  return command
    .option("--http-host <address>", helpWithDefault("HTTP_HOST"))
    .option("--http-port <port>", helpWithDefault("HTTP_PORT"));
}

function helpWithDefault(name: SettingName): string {
  const { help, fallback } = SETTINGS[name];
  return `${help} (default: ${fallback})`;
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

/**
 * The same, for a command that only looks: it does not make an embedded database.
 * @throws {BlackTradeError} E_CONFIG; E_DB_MISSING when no embedded database was ever made in the folder
 */
export function configOfExisting(options: Readonly<Record<string, unknown>>): Config {
  const config = configOf(options);
  if (config.databaseUrl !== undefined || hasEmbedded(config.dataDir)) return config;
  throw new BlackTradeError("E_DB_MISSING", `there is no database in ${config.dataDir} yet`, {
    remedy:
      'Start with "npx black-trade ingest", or say where it is: DATA_DIR (--data-dir) or DATABASE_URL.',
  });
}

function hasEmbedded(dataDir: string): boolean {
  try {
    return readdirSync(dataDir).some((name) => /^pg\d+$/.test(name));
  } catch {
    return false;
  }
}

/** Writes an error as the user sees it: what, and what to do. @returns the exit status that it stands for */
export function showError(output: Output, thrown: unknown, config?: Config): ExitStatus {
  const error = thrown instanceof BlackTradeError ? thrown : (fileError(thrown) ?? thrown);
  const hideSecrets = redactor(config === undefined ? [] : secretsOf(config));
  const redact = (text: string): string => maskPasswords(hideSecrets(text));
  if (error instanceof BlackTradeError) {
    const [first = "", ...rest] = error.message.split("\n");
    if (error.code === "E_CONFIG") {
      const count = rest.length === 0 ? "a setting is" : `${rest.length + 1} settings are`;
      output.note(`error ${error.code}: ${count} wrong`);
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

const STATUS_OF = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
/** A stop that takes longer than this says so. */
const SLOW_STOP_MS = 1_500;

/** What is left behind by work that stores as it goes, for {@link untilStopped}. */
export const STORED_STAYS = "what is stored stays, the next run goes on from here";

/**
 * Does work that a signal may stop. Once stopped, a command ends with the status of the signal, whatever the work threw.
 * @param stays what is left behind then, as a line for the user; nothing is said when not given
 */
export async function untilStopped(
  output: Pick<Output, "note">,
  end: (status: ExitStatus) => void,
  stays: string | undefined,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = stopSignal();
  try {
    await work(stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    if (stays !== undefined) output.note(`stopped; ${stays}`);
    end(stop.exitStatus());
  } finally {
    stop.dispose();
  }
}

/**
 * A signal that aborts at SIGINT, SIGTERM and SIGHUP, and when nobody reads the output any more. A second SIGINT or
 * SIGTERM ends the process at once.
 */
export function stopSignal(): {
  readonly signal: AbortSignal;
  exitStatus(): ExitStatus;
  dispose(): void;
} {
  const controller = new AbortController();
  let status: ExitStatus = 0;
  let slow: NodeJS.Timeout | undefined;
  const onSignal = (name: NodeJS.Signals): void => {
    // A terminal that is closed sends SIGHUP, and often more than once.
    if (status !== 0) {
      if (name === "SIGHUP") return;
      process.exit(1);
    }
    status = STATUS_OF[name as keyof typeof STATUS_OF];
    controller.abort();
    slow ??= setTimeout(() => {
      process.stderr.write("stopping; once more (Ctrl-C) ends it at once\n");
    }, SLOW_STOP_MS).unref();
  };
  const onReaderGone = (): void => controller.abort();
  for (const name of Object.keys(STATUS_OF)) process.on(name, onSignal);
  if (readerGone.aborted) controller.abort();
  readerGone.addEventListener("abort", onReaderGone);
  return {
    signal: controller.signal,
    exitStatus: () => status,
    dispose: () => {
      clearTimeout(slow);
      for (const name of Object.keys(STATUS_OF)) process.off(name, onSignal);
      readerGone.removeEventListener("abort", onReaderGone);
    },
  };
}
