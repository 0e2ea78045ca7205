import assert from "node:assert/strict";
import { globSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, test } from "node:test";
import { Command } from "commander";
import { Database } from "../src/store/index.ts";
import { readProjectFile, sampleNames } from "./support/ops.ts";
import { withDatabase } from "./support/postgres.ts";

const ROOT = join(import.meta.dirname, "..");
/** What an operator reads at night: nothing in it may be wrong. */
const PAGES = [
  "docs/TROUBLESHOOTING.md",
  "docs/DEPLOYMENT.md",
  "docs/reference/metrics.md",
  ...globSync("docs/runbooks/*.md", { cwd: ROOT }),
];
const pages = PAGES.map((path) => ({ path, text: readProjectFile(path) }));

/** Commands of the program that a page tells to type, each with its flags. */
function commandsIn(text: string): { command: string; flags: string[] }[] {
  return [
    ...text.matchAll(
      /(?:npx black-trade|black-trade\.js) ([a-z-]+(?: (?:init|migrate|down|status))?)([^`"'\n|&;#]*)/g,
    ),
  ].map(([, command = "", rest = ""]) => ({
    command,
    flags: [...rest.matchAll(/--[a-z-]+/g)].map(([flag]) => flag),
  }));
}

/** Every command of the program by its words, `db init` among them. */
async function programCommands(): Promise<Map<string, Command>> {
  const output = {
    ...{ isTerminal: false, hasColors: false, columns: 80, rows: 40 },
    result: () => undefined,
    note: () => undefined,
  };
  const found = new Map<string, Command>();
  for (const file of globSync("src/cli/*.ts", { cwd: ROOT })) {
    if (file.endsWith(".test.ts")) continue;
    const module = (await import(join(ROOT, file))) as Record<string, unknown>;
    for (const [name, make] of Object.entries(module)) {
      if (!name.endsWith("Command") || typeof make !== "function") continue;
      const command: unknown = make(output, () => undefined);
      if (!(command instanceof Command)) continue;
      found.set(command.name(), command);
      for (const one of command.commands) found.set(`${command.name()} ${one.name()}`, one);
    }
  }
  return found;
}

describe("what the pages tell to type", () => {
  test("are commands and flags that the program has", async () => {
    const wanted = new Map<string, Set<string>>();
    for (const { text } of pages) {
      for (const { command, flags } of commandsIn(text)) {
        wanted.set(command, new Set([...(wanted.get(command) ?? []), ...flags]));
      }
    }
    assert.ok(wanted.size >= 5);
    const known = await programCommands();
    for (const [name, flags] of wanted) {
      const command = known.get(name);
      assert.ok(command, `there is no command ${name}`);
      const long = new Set(command.options.map((option) => option.long));
      for (const flag of flags) {
        assert.ok(long.has(flag) || flag === "--help", `${name} has no ${flag}`);
      }
    }
  });

  test("is SQL that the database takes", () =>
    withDatabase(async ({ url }) => {
      const database = new Database({ url, poolSize: 1 });
      try {
        let count = 0;
        for (const { path, text } of pages) {
          const typed = [...text.matchAll(/psql [^\n]*?-c (["'])(.*?)\1\n|`(select [^`]*)`/gs)];
          for (const [, , quoted, inline] of typed) {
            const statement = (quoted ?? inline ?? "").replace(/\s+/g, " ");
            await database.run({ text: statement }).catch((error: unknown) => {
              assert.fail(`${path}: ${statement}: ${error}`);
            });
            count += 1;
          }
        }
        assert.ok(count >= 5, `${count} statements`);
      } finally {
        await database.close();
      }
    }));

  test("looks for metrics that exist", async () => {
    const known = [...(await sampleNames())];
    let count = 0;
    for (const { path, text } of pages) {
      for (const [, pattern = ""] of text.matchAll(/\/metrics \| grep (?:-E )?'?([^'\s]+)'?/g)) {
        const expression = new RegExp(pattern);
        assert.ok(
          known.some((name) => expression.test(name)),
          `${path}: ${pattern}`,
        );
        count += 1;
      }
    }
    assert.ok(count >= 5);
  });
});

test("links of the pages lead to files, and to sections that are there", () => {
  const anchors = (text: string): Set<string> =>
    new Set(
      [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
        title
          .toLowerCase()
          .replace(/[^\w\- ]/g, "")
          .replaceAll(" ", "-"),
      ),
    );
  const broken: string[] = [];
  for (const { path, text } of pages) {
    for (const [, target = ""] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue;
      const [file = "", anchor] = target.split("#");
      const full = file === "" ? path : normalize(join(dirname(path), file));
      if (globSync(full, { cwd: ROOT }).length === 0) broken.push(`${path}: ${target}`);
      else if (anchor !== undefined && !anchors(readProjectFile(full)).has(anchor)) {
        broken.push(`${path}: ${target}`);
      }
    }
  }
  assert.deepEqual(broken, []);
});
