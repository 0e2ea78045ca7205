import { readFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "node:test";
import { auditShipped } from "./audit.ts";
import { readFloors, shipped, shippedBelow } from "./floors.ts";
import { isNamed, type Row, readTable } from "./table.ts";

/**
 * `npm run security`: every test that docs/SECURITY.md names, and one line that sums them up. Ends with 1 when a control
 * is not shown: a test failed, was skipped or is not there, something that ships is too old, or the registry knows worse.
 */
const ROOT = join(import.meta.dirname, "../..");
const LEAKS = "secrets-in-output ";

interface Result {
  readonly file: string;
  readonly name: string;
  readonly isPassed: boolean;
  readonly isSkipped: boolean;
}

interface Manifest {
  readonly allowScripts: Readonly<Record<string, boolean>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

const rows = readTable(ROOT);
const applying = rows.filter(({ doesNotApply }) => doesNotApply === undefined);
const files = [...new Set(applying.flatMap(({ tests }) => tests.map(({ file }) => file)))];

const results: Result[] = [];
let leaks = "not looked for";
const paths = files.map((file) => join(ROOT, file));
for await (const { type, data } of run({ files: paths, concurrency: 1 })) {
  if (type === "test:pass" || type === "test:fail") {
    const { name, file = "" } = data;
    const isPassed = type === "test:pass";
    const isSuite = data.details.type === "suite";
    // A suite that fails before its tests counts as well.
    if (isPassed && isSuite) continue;
    results.push({ file, name, isPassed, isSkipped: data.skip !== undefined });
    if (!isPassed) say(`failed: ${file}: ${name}`);
  } else if (type === "test:diagnostic" && data.message.startsWith(LEAKS)) {
    leaks = data.message.slice(LEAKS.length);
  }
}

const missing = applying.flatMap((row) => missingOf(row));
for (const text of missing) say(text);
const shown = applying.filter((row) => missingOf(row).length === 0);
const failed = results.filter(({ isPassed }) => !isPassed);
const below = shippedBelow(ROOT);
for (const text of below) say(text);
const versions = installed();
const unpinned = versions.filter((version) => !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version));
const audit = await auditShipped(ROOT);
const auditText = audit.isAvailable
  ? `${audit.found.length} of ${audit.packageCount}`
  : `not available here (${audit.reason})`;
if (audit.isAvailable) for (const text of audit.found) say(`npm audit: ${text}`);

const floorText = `${below.length === 0 ? "ok" : `${below.length} below`} (${Object.keys(readFloors(ROOT)).length} looked up, ${shipped(ROOT).length} packages ship)`;
process.stdout.write(
  `security ${shown.length}/${rows.length} (${results.length} tests; does not apply: ${notApplying()})  secrets-in-output ${leaks}  install-scripts ${scripts()}  unpinned ${unpinned.length} of ${versions.length}  floors ${floorText}  audit: ${auditText}\n`,
);
const faults = [
  ...missing,
  ...failed,
  ...below,
  ...unpinned,
  ...(audit.isAvailable ? audit.found : []),
];
process.exitCode = faults.length === 0 && leaks.startsWith("0 ") ? 0 : 1;

/** Why a control is not shown, in words. */
function missingOf({ number, tests }: Row): string[] {
  return tests.flatMap(({ file, name }) => {
    const own = results.filter((one) => one.file === join(ROOT, file) && isNamed(one.name, name));
    const why =
      own.length === 0
        ? "did not run"
        : own.some(({ isSkipped }) => isSkipped)
          ? "was skipped"
          : own.every(({ isPassed }) => isPassed)
            ? undefined
            : "failed";
    return why === undefined ? [] : [`${number} is not shown: ${file}: ${name}: ${why}`];
  });
}

function notApplying(): string {
  const reasons = Map.groupBy(rows, ({ doesNotApply }) => doesNotApply);
  return [...reasons]
    .flatMap(([reason, which]) =>
      reason === undefined ? [] : [`${which.map(({ number }) => number).join(", ")}: ${reason}`],
    )
    .join("; ");
}

function manifest(): Manifest {
  return JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as Manifest;
}

function installed(): string[] {
  const { dependencies, devDependencies, optionalDependencies } = manifest();
  return Object.values({ ...dependencies, ...devDependencies, ...optionalDependencies });
}

function scripts(): string {
  const { allowScripts } = manifest();
  const allowed = Object.keys(allowScripts).filter((name) => allowScripts[name]);
  return `${allowed.length} of ${Object.keys(allowScripts).length} that have one (${allowed.join(", ")})`;
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
