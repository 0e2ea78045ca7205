import { Command } from "commander";
import { BlackTradeError } from "../core/errors.ts";
import type { OpenedDatabase } from "../open-database.ts";
import { type ExitStatus, withDatabaseFlags } from "./command.ts";
import { type Answer, showAnswer, withDatabase } from "./database-command.ts";
import { compressCommand, compressionLines } from "./db-compress.ts";
import { retainCommand } from "./db-retain.ts";
import { rollupCommand } from "./db-rollup.ts";
import { instant, type Output, tableLines } from "./output.ts";

interface DbOptions {
  readonly json?: boolean;
  readonly steps?: string;
}

/** `db`: create the database, apply or undo migrations, show them; compress, remove, and derive what is stored. */
export function dbCommand(output: Output, end: (status: ExitStatus) => void): Command {
  const db = new Command("db")
    .description(
      "the database: create it, apply or undo migrations, compress, thin out and roll up candles",
    )
    .addHelpText(
      "before",
      `Examples:
  npx black-trade db init       create the database of DATABASE_URL if it is missing, and migrate it
  npx black-trade db migrate    apply what is pending
  npx black-trade db status     show server, address and migrations
  npx black-trade db down       undo the newest migration
  npx black-trade db compress   with TimescaleDB: compress candles that have settled
  npx black-trade db retain 1s=30d --dry-run
  npx black-trade db rollup 45m
`,
    );

  const add = (
    name: string,
    description: string,
    examples: string,
    makes: "database" | "tables" | "nothing",
    act: (database: OpenedDatabase, options: DbOptions) => Promise<Answer>,
  ): Command => {
    const command = withDatabaseFlags(new Command(name))
      .description(description)
      .option("--json", "one JSON document")
      .addHelpText("before", `Examples:\n${examples}`)
      .action(async (options: DbOptions) => {
        stepsOf(options);
        const answer = await withDatabase({ ...options }, makes, (database) =>
          act(database, options),
        );
        showAnswer(output, options.json, answer);
        end(0);
      });
    db.addCommand(command);
    return command;
  };

  add(
    "init",
    "create the database if it is missing, and migrate it",
    `  npx black-trade db init
  npx black-trade db init --database-url postgresql://user:password@localhost:5432/black_trade
`,
    "database",
    async (database) => {
      const { json, lines } = await migrated(database);
      const first = `${database.isCreated ? "created" : "exists already"}: ${database.description}`;
      return { json: { isCreated: database.isCreated, ...json }, lines: [first, ...lines] };
    },
  );
  add(
    "migrate",
    "apply what is pending",
    `  npx black-trade db migrate
  npx black-trade db migrate --json | jq .applied
`,
    "tables",
    migrated,
  );
  add(
    "down",
    "undo the newest migrations; what they made is dropped with its rows",
    `  npx black-trade db down
  npx black-trade db down --steps 2
`,
    "nothing",
    async (database, options) => {
      const undone = await database.migrateDown(stepsOf(options));
      return {
        json: { undone: undone.map(({ version, name }) => ({ version, name })) },
        lines:
          undone.length === 0
            ? ["nothing to undo"]
            : undone.map(({ version, name }) => `undone ${version} ${name}`),
      };
    },
  ).option("--steps <number>", "how many", "1");
  add(
    "status",
    "show server, address, compression and migrations",
    `  npx black-trade db status
  npx black-trade db status --json | jq '.migrations[] | select(.state == "pending")'
`,
    "nothing",
    async (database) => {
      const server = await database.server();
      const states = await database.migrationStates();
      const pending = states.filter(({ state }) => state === "pending").length;
      const hasCandles = states.some(
        ({ name, state }) => name === "candles" && state === "applied",
      );
      const compression = hasCandles ? await database.compression.facts() : undefined;
      return {
        json: {
          ...server,
          address: database.description,
          compression: compression ?? null,
          migrations: states,
        },
        lines: [
          `server      ${server.version}${server.timescale === undefined ? "" : `, TimescaleDB ${server.timescale}`}`,
          `database    ${database.description}`,
          `connect     ${database.connectHint}`,
          `size        ${server.size}`,
          ...(compression === undefined ? [] : compressionLines(compression)),
          "",
          ...tableLines(
            output,
            ["MIGRATION", "NAME", "STATE", "APPLIED", "WHY"],
            states.map(({ version, name, state, appliedTime, reason }) => [
              { text: String(version).padStart(4, "0") },
              { text: name },
              { text: state, tone: state === "applied" ? "good" : "busy" },
              {
                text: state !== "applied" || appliedTime === undefined ? "-" : instant(appliedTime),
              },
              { text: reason ?? "" },
            ]),
          ),
          ...(pending === 0 ? [] : ["", `${pending} pending: npx black-trade db migrate`]),
        ],
      };
    },
  );
  db.addCommand(compressCommand(output, end));
  db.addCommand(retainCommand(output, end));
  db.addCommand(rollupCommand(output, end));
  return db;
}

function stepsOf({ steps = "1" }: DbOptions): number {
  if (/^[1-9]\d{0,3}$/.test(steps)) return Number(steps);
  throw new BlackTradeError("E_USAGE", `--steps: "${steps}" is not a number from 1 on`, {
    remedy: "give it like --steps 2",
  });
}

async function migrated(database: OpenedDatabase): Promise<Answer> {
  const applied = (await database.migrate()).map(({ version, name }) => ({ version, name }));
  const states = await database.migrationStates();
  const skipped = states.filter(({ state }) => state === "skipped");
  return {
    json: { applied, migrations: states },
    lines: [
      ...applied.map(({ version, name }) => `applied ${version} ${name}`),
      ...(applied.length === 0 ? ["nothing to apply: the database is up to date"] : []),
      ...skipped.map(({ version, name, reason }) => `skipped ${version} ${name}: ${reason}`),
    ],
  };
}
