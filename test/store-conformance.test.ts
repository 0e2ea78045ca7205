import { describeStore } from "./conformance/store-suite.ts";
import { sharedServer } from "./support/postgres.ts";
import { memoryHarness, postgresHarness } from "./support/store-harness.ts";

describeStore("store in memory", memoryHarness);
describeStore("store in PostgreSQL", () => postgresHarness(sharedServer()));
