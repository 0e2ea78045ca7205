import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";

const ROOT = join(import.meta.dirname, "..");

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly allowScripts: Readonly<Record<string, boolean>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

interface LockEntry {
  readonly version?: string;
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly hasInstallScript?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const manifest = readJson<Manifest>("package.json");
const { packages } = readJson<{ packages: Readonly<Record<string, LockEntry>> }>(
  "package-lock.json",
);
const locked = Object.entries(packages).filter(([path]) => path !== "");

describe("what is installed", () => {
  test("every version in package.json is exact", () => {
    const { dependencies, devDependencies, optionalDependencies } = manifest;
    const wanted = { ...dependencies, ...devDependencies, ...optionalDependencies };
    const loose = Object.entries(wanted).filter(
      ([, version]) => !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version),
    );
    assert.deepEqual(loose, []);
  });

  test("every package of the lock has its checksum", () => {
    const without = locked.filter(([, { integrity = "" }]) => !/^sha512-.{80,}/.test(integrity));
    assert.deepEqual(without, []);
  });

  // Where a registry lacks a package of another platform, npm leaves it out of the lock, and then `npm ci` refuses the lock.
  test("the lock is whole, for every platform", () => {
    const missing = Object.entries(packages).flatMap(([path, entry]) =>
      Object.keys({
        ...entry.dependencies,
        ...entry.devDependencies,
        ...entry.optionalDependencies,
      })
        .filter((name) => lockedAs(path, name) === undefined)
        .map((name) => `${path}: ${name}`),
    );
    assert.deepEqual(missing, []);
  });

  test("only the package that brings Node.js may run a script when it is installed", () => {
    const scripted = locked
      .filter(([, { hasInstallScript }]) => hasInstallScript === true)
      .map(([path]) => nameOf(path));
    const decided = Object.keys(manifest.allowScripts);
    assert.deepEqual([...new Set(scripted)].sort(), decided.sort());
    const allowed = decided.filter((name) => manifest.allowScripts[name] === true);
    assert.deepEqual(allowed, ["node"]);
  });
});

describe("the package", { timeout: 300_000 }, () => {
  let folder = "";
  let tarball = "";
  let files: readonly string[] = [];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "black-trade-package-"));
    // PostgreSQL's own user has to get through when this runs as root.
    await chmod(folder, 0o755);
    const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], ROOT);
    // The scripts that build it write before the document.
    const [packed] = JSON.parse(stdout.slice(stdout.search(/^\[$/m))) as [
      { filename: string; files: { path: string }[] },
    ];
    tarball = join(folder, packed.filename);
    files = packed.files.map(({ path }) => path);
  });

  after(() => rm(folder, { recursive: true, force: true }));

  test("holds the program, its types, its migrations and its page, and nothing else", () => {
    const sources = globSync("src/**/*.ts", { cwd: ROOT })
      .filter((path) => !/\.(?:test|d)\.ts$/.test(path))
      .map((path) => path.replace(/^src/, "dist").replace(/\.ts$/, ""));
    const expected = [
      ...["CHANGELOG.md", "LICENSE", "README.md", "bin/black-trade.js", "package.json"],
      ...sources.flatMap((path) => [`${path}.js`, `${path}.d.ts`]),
      ...globSync(["src/store/migrations/*.sql", "src/serve/dashboard/page/*.{html,css,svg,js}"], {
        cwd: ROOT,
      }).map((path) => path.replace(/^src/, "dist")),
    ];
    assert.deepEqual([...files].sort(), expected.sort());
    assert.ok(files.includes("dist/store/migrations/0001-candles.sql"));
  });

  test("installed alone in an empty folder it runs, and is a typed library", async (t) => {
    const app = join(folder, "app");
    const temporary = join(folder, "tmp");
    await mkdir(app);
    await mkdir(temporary, { mode: 0o755 });
    await writeFile(join(app, "package.json"), '{ "type": "module" }');
    const install = ["install", "--prefer-offline", "--no-audit", "--no-fund", tarball];
    const unreachable = await run("npm", install, app).then(
      () => undefined,
      (error: Error) => {
        const [why] =
          /E(?:AI_AGAIN|NOTFOUND|CONN\w+|TIMEDOUT|NETUNREACH)/.exec(error.message) ?? [];
        if (why === undefined) throw error;
        return why;
      },
    );
    if (unreachable !== undefined) {
      t.skip(`the npm registry cannot be reached (${unreachable})`);
      return;
    }

    const program = ["--no-install", "black-trade"];
    const help = await run("npx", [...program, "--help"], app);
    assert.match(help.stdout, /npx black-trade ingest/);
    const version = await run("npx", [...program, "--version"], app);
    assert.equal(version.stdout.trim(), manifest.version);

    const demo = await run("npx", [...program, "demo", "--for", "12"], app, { TMPDIR: temporary });
    const [, stored] = /(\d+) candles were stored/.exec(demo.stderr) ?? [];
    assert.ok(Number(stored) > 0, demo.stderr);
    assert.match(demo.stdout, /BTCUSDT 1s +open \d/);
    const left = (await readdir(temporary)).filter((name) => name.startsWith("black-trade"));
    assert.deepEqual(left, [], "the demo left something behind");

    await writeFile(
      join(app, "reader.ts"),
      `import { openStore, openTimeAt, seriesStatus, type Candle, type Series } from "black-trade";
       const series: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
       export async function newest(url: string): Promise<Candle | undefined> {
         const store = await openStore({ url, access: "read" });
         const [row] = await store.latest(series, 1);
         const { run, series: facts } = await store.facts();
         for (const one of facts) console.log(seriesStatus(one, run).word);
         await store.close();
         return row?.candle;
       }
       console.log(openTimeAt("1m", 60_001));`,
    );
    const strict = ["--strict", "--target", "es2024", "--module", "nodenext", "--types", ""];
    await run(join(ROOT, "node_modules/.bin/tsc"), [...strict, "reader.ts"], app);
    const { stdout } = await run(process.execPath, ["reader.js"], app);
    assert.equal(stdout.trim(), "60000");
  });
});

/** Runs a program as a newcomer's shell would: with this Node.js, and without what `npm test` tells its children. */
async function run(
  file: string,
  args: readonly string[],
  cwd: string,
  more: Readonly<Record<string, string>> = {},
): Promise<{ stdout: string; stderr: string }> {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(?:npm_(?:package|lifecycle|config_local_prefix)|INIT_CWD|NODE_)/.test(name),
  );
  const env = Object.fromEntries(inherited);
  const path = [dirname(process.execPath), env.PATH].join(delimiter);
  const isWindows = process.platform === "win32";
  return promisify(execFile)(file, args, {
    cwd,
    env: { ...env, PATH: path, ...more },
    shell: isWindows,
    maxBuffer: 64 * 1024 * 1024,
  });
}

/** Where the lock has what a package finds under this name: beside it, or in a folder further up. */
function lockedAs(from: string, name: string): LockEntry | undefined {
  for (
    let path = from;
    ;
    path = path.slice(0, Math.max(0, path.lastIndexOf("node_modules/") - 1))
  ) {
    const entry = packages[`${path === "" ? "" : `${path}/`}node_modules/${name}`];
    if (entry !== undefined || path === "") return entry;
  }
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
}

function readJson<T>(file: string): T {
  return JSON.parse(readFileSync(join(ROOT, file), "utf8")) as T;
}
