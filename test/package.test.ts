import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { globSync, readFileSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { nameOf, placeOf } from "../scripts/sbom.ts";

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

interface Sbom {
  readonly components: readonly {
    readonly "bom-ref": string;
    readonly name: string;
    readonly version: string;
    readonly hashes: readonly { readonly content: string }[];
  }[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
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
        .filter((name) => placeOf(packages, path, name) === undefined)
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

/** In this file, as one build at a time may write `dist`. */
test("a release is the same when it is made again, and names all that ships", {
  timeout: 300_000,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), "black-trade-release-"));
  try {
    const made: Record<string, Buffer>[] = [];
    for (const name of ["first", "second"]) {
      const target = join(folder, name);
      await run(process.execPath, [join(ROOT, "scripts/release.ts"), target], ROOT);
      const files = (await readdir(target)).sort();
      const bytes = await Promise.all(files.map((file) => readFile(join(target, file))));
      made.push(Object.fromEntries(files.map((file, index) => [file, bytes[index] as Buffer])));
    }
    const [first = {}, second = {}] = made;
    const stem = `${manifest.name}-${manifest.version}`;
    assert.deepEqual(Object.keys(first), ["SHA256SUMS", `${stem}.cdx.json`, `${stem}.tgz`]);
    for (const [name, bytes] of Object.entries(first)) assert.ok(second[name]?.equals(bytes), name);

    const sums = String(first.SHA256SUMS).trimEnd().split("\n");
    assert.equal(sums.length, 2);
    for (const line of sums) {
      const [sum, name = ""] = line.split("  ");
      const bytes = first[name];
      assert.ok(bytes !== undefined, name);
      assert.equal(createHash("sha256").update(bytes).digest("hex"), sum);
    }

    const sbom = JSON.parse(String(first[`${stem}.cdx.json`])) as Sbom;
    const ships = locked.filter(([, { dev }]) => dev !== true);
    const expected = ships.map(([path, { version }]) => `${nameOf(path)}@${version}`);
    const named = sbom.components.map(({ name, version }) => `${name}@${version}`);
    assert.deepEqual(named.sort(), [...new Set(expected)].sort());
    for (const { hashes, name } of sbom.components)
      assert.match(hashes[0]?.content ?? "", /^[\da-f]{128}$/, name);
    const refs = new Set(sbom.components.map((one) => one["bom-ref"]));
    const needed = new Set(sbom.dependencies.flatMap(({ dependsOn }) => dependsOn));
    assert.deepEqual(
      [...needed].filter((ref) => !refs.has(ref)),
      [],
    );
    // What nothing needs would be there by mistake.
    assert.deepEqual(
      [...refs].filter((ref) => !needed.has(ref)),
      [],
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
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

function readJson<T>(file: string): T {
  return JSON.parse(readFileSync(join(ROOT, file), "utf8")) as T;
}
