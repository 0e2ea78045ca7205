import { BlackTradeError } from "../core/errors.ts";
import type { Database } from "./database.ts";

/**
 * Refuses who may not change the tables, before anything is tried.
 * @param what is asked for, in a few words: `compress candles`
 * @throws {BlackTradeError} E_DB_RIGHT
 */
export async function refuseNonOwner(database: Database, what: string): Promise<void> {
  const [row] = await database.run<{ isOwner: boolean }>({
    text: `
      select pg_has_role(relowner, 'USAGE') as "isOwner" from pg_class
      where oid = to_regclass('candles')`,
  });
  if (row?.isOwner !== false) return;
  throw new BlackTradeError(
    "E_DB_RIGHT",
    `user "${database.target.user}" may not ${what}: it does not own the tables`,
    { remedy: "Run it as the owner of the tables, the user that runs db migrate." },
  );
}
