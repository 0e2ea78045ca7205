import assert from "node:assert/strict";
import { globSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { openStore } from "../src/store/index.ts";
import { candleAt } from "./conformance/store-suite.ts";
import { withDatabase } from "./support/postgres.ts";
import { runNode, runProgram } from "./support/program.ts";

const ROOT = join(import.meta.dirname, "..");
const GUIDES = globSync("docs/guides/*.md", { cwd: ROOT });
const DAY_MS = 86_400_000;
const FROM = Date.UTC(2025, 0, 1);
const SERIES = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1d" } as const;

/** What each snippet prints, in the order of the guide, in any language. */
const PRINTED: readonly RegExp[] = [
  /^stored\n$/,
  /^31 \D+2025-01-30T00:00:00\.000Z\n$/,
  /^\D+2025-01-01T00:00:00\.000Z: 370\.(?:2|19)\d*\n$/,
  /^BTCUSDT 1d: paused .+\n.+2025-01-30T00:00:00\.000Z\n.+ ms\n$/,
];

test("the snippets of the guides run and print what they say", async () => {
  const library = pathToFileURL(join(ROOT, "src/index.ts")).href;
  for (const guide of GUIDES) {
    const text = await readFile(join(ROOT, guide), "utf8");
    const snippets = [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code = ""]) => code);
    assert.equal(snippets.length, PRINTED.length, guide);
    const folder = await mkdtemp(join(tmpdir(), "bt-guide-"));
    await withDatabase(async ({ url }) => {
      await fill(url);
      for (const [index, code] of snippets.entries()) {
        const path = join(folder, `${index}.ts`);
        await writeFile(path, code.replace('"black-trade"', JSON.stringify(library)));
        const { status, stdout, stderr } = await runNode(path, { DATABASE_URL: url });
        assert.equal(status, 0, `${guide} ${index}: ${stderr}`);
        assert.match(stdout, PRINTED[index] ?? /^$/, `${guide} ${index}`);
      }
    });
    await rm(folder, { recursive: true });
  }
});

async function fill(url: string): Promise<void> {
  const store = await openStore({ url });
  const batch = Array.from({ length: 30 }, (_, index) =>
    candleAt(SERIES, FROM + index * DAY_MS, "rest", {}, FROM + 60 * DAY_MS),
  );
  await store.write(batch, []);
  await store.close();
}

test("the commands of the guides and their flags exist", async () => {
  const helps = new Map<string, string>();
  for (const guide of GUIDES) {
    const text = await readFile(join(ROOT, guide), "utf8");
    for (const [, command = "", rest = ""] of text.matchAll(
      /npx black-trade ([a-z-]+)([^`#\n]*)/g,
    )) {
      if (!helps.has(command)) {
        const { status, stdout } = await runProgram([command, "--help"]);
        assert.equal(status, 0, `${guide}: ${command}`);
        helps.set(command, stdout);
      }
      for (const [flag] of rest.matchAll(/--[a-z-]+/g))
        assert.ok(helps.get(command)?.includes(flag), `${guide}: ${command} ${flag}`);
    }
  }
  assert.ok(helps.size > 5);
});

test("what the guides link to is there, and both languages say the same", async () => {
  const shapes = new Set<string>();
  for (const guide of GUIDES) {
    const text = await readFile(join(ROOT, guide), "utf8");
    for (const [, target = ""] of text.matchAll(/\]\((?!https?:)([^)#]+)/g)) {
      const path = join(dirname(guide), target);
      assert.ok(globSync(path, { cwd: ROOT }).length > 0, `${guide}: ${target}`);
    }
    const count = (pattern: RegExp): number => [...text.matchAll(pattern)].length;
    shapes.add([/^#+ /gm, /^```/gm, /^\|/gm, /^- /gm, /\]\(/g].map(count).join());
  }
  assert.equal(shapes.size, 1, [...shapes].join(" ≠ "));
});
