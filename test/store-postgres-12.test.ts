import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { type Embedded, startEmbedded } from "../src/store/index.ts";
import { describeStore } from "./conformance/store-suite.ts";
import { installPostgres } from "./support/postgres-package.ts";
import { postgresHarness } from "./support/store-harness.ts";

const installed = await installPostgres("12.22.0-beta.15");

let server: Embedded | undefined;
let dataDir: string | undefined;

after(async () => {
  await server?.release();
  if (dataDir !== undefined) await rm(dataDir, { recursive: true, force: true });
});

async function start(): Promise<Embedded> {
  dataDir = await mkdtemp(join(tmpdir(), "black-trade-pg12-"));
  server = await startEmbedded({
    dataDir,
    ...("folder" in installed ? { binariesFolder: installed.folder } : {}),
  });
  return server;
}

describeStore("store in PostgreSQL 12", () => postgresHarness(start()), {
  skip: "reason" in installed ? installed.reason : false,
});
