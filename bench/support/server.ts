import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createDatabase, Database, migrate, startEmbedded } from "../../src/store/index.ts";

/** A PostgreSQL server of one benchmark, with a folder of its own. */
export interface BenchServer {
  /** Holds the server's data; there is room for other files. */
  readonly folder: string;
  /** A new database with the program's tables, after a checkpoint. @returns its URL */
  freshDatabase(): Promise<string>;
}

const CHECKPOINT_DEADLINE_MS = 600_000;

/** Starts one in a temporary folder, and takes both away after `run`. */
export async function withServer<T>(run: (server: BenchServer) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "black-trade-bench-"));
  try {
    // The server's own user has to reach it when this runs as root.
    await chmod(folder, 0o755);
    const embedded = await startEmbedded({ dataDir: folder });
    let count = 0;
    const freshDatabase = async (): Promise<string> => {
      count += 1;
      const url = embedded.urlOf(`bench_${count}`);
      await createDatabase({ url });
      await withDatabaseAt(url, async (database) => {
        await migrate(database);
        await database.run({ text: "checkpoint", deadlineMs: CHECKPOINT_DEADLINE_MS });
      });
      return url;
    };
    try {
      return await run({ folder, freshDatabase });
    } finally {
      await embedded.release();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A look into a database over one connection; each statement may take long. */
export async function withDatabaseAt<T>(
  url: string,
  look: (database: Database) => Promise<T>,
): Promise<T> {
  const database = new Database({ url, poolSize: 1, deadlineMs: CHECKPOINT_DEADLINE_MS });
  try {
    return await look(database);
  } finally {
    await database.close();
  }
}

/** ms that `act` takes. */
export async function timed(act: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await act();
  return performance.now() - began;
}
