import { type OpenedDatabase, openDatabase } from "../open-database.ts";
import { configOf, configOfExisting } from "./command.ts";
import type { Output } from "./output.ts";

/** What a command answers with: a document for `--json`, lines for people. */
export interface Answer {
  readonly json: object;
  readonly lines: readonly string[];
}

/**
 * Opens the database that the flags of a command name, for `act`, and closes it after it.
 * @param makes what the command makes where it is missing; `nothing` needs an embedded database to be there
 */
export async function withDatabase<T>(
  options: Readonly<Record<string, unknown>>,
  makes: "database" | "tables" | "nothing",
  act: (database: OpenedDatabase) => Promise<T>,
): Promise<T> {
  const config = (makes === "nothing" ? configOfExisting : configOf)({ ...options });
  const database = await openDatabase(config, { isCreating: makes === "database" });
  try {
    return await act(database);
  } finally {
    await database.close();
  }
}

/** The same for tables that have to be there as this program makes them. */
export function withTables<T>(
  options: Readonly<Record<string, unknown>>,
  act: (database: OpenedDatabase) => Promise<T>,
): Promise<T> {
  return withDatabase(options, "nothing", async (database) => {
    await (await database.openStore("read")).close();
    return act(database);
  });
}

/** Writes an answer as one document or as lines. */
export function showAnswer(output: Output, isJson: boolean | undefined, answer: Answer): void {
  if (isJson === true) output.result(JSON.stringify(answer.json));
  else for (const line of answer.lines) output.result(line);
}
