import { readFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "node:test";
import { shippedBelow } from "./floors.ts";

/** `npm run security`: every test that docs/SECURITY.md names, and one line that sums them up. Ends with 1 when one failed. */
const ROOT = join(import.meta.dirname, "../..");
const rows = readFileSync(join(ROOT, "docs/SECURITY.md"), "utf8")
  .split("\n")
  .filter((line) => /^\| S\d+ \|/.test(line));
const applying = rows.filter((line) => !line.includes("| does not apply:"));
const filesOf = (line: string): string[] =>
  [...line.matchAll(/`((?:src|test)\/[\w./-]+\.test\.ts)`/g)].map(([, file = ""]) =>
    join(ROOT, file),
  );
const files = [...new Set(applying.flatMap(filesOf))];

const failedFiles = new Set<string>();
let leaks = "not looked for";
let passed = 0;
for await (const { type, data } of run({ files, concurrency: 1 })) {
  if (type === "test:pass" && data.details.type !== "suite") passed += 1;
  else if (type === "test:fail") {
    failedFiles.add(data.file ?? "");
    process.stderr.write(`failed: ${data.file ?? ""}: ${data.name}\n`);
  } else if (type === "test:diagnostic" && data.message.startsWith("secrets-in-output ")) {
    leaks = data.message.slice("secrets-in-output ".length);
  }
}
const sound = applying.filter((line) => filesOf(line).every((file) => !failedFiles.has(file)));

interface Manifest {
  readonly allowScripts: Readonly<Record<string, boolean>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}
const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as Manifest;
const { dependencies, devDependencies, optionalDependencies, allowScripts } = manifest;
const unpinned = Object.values({
  ...dependencies,
  ...devDependencies,
  ...optionalDependencies,
}).filter((version) => !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version)).length;
const scripts = Object.keys(allowScripts).filter((name) => allowScripts[name]);
const below = shippedBelow(ROOT);
for (const line of below) process.stderr.write(`${line}\n`);
const isWhole = sound.length === applying.length && below.length === 0 && unpinned === 0;
process.stdout.write(
  `security ${sound.length}/${applying.length} (${rows.length - applying.length} do not apply, ${passed} tests)  secrets-in-output ${leaks}  install-scripts ${scripts.length} (${scripts.join(", ")})  unpinned ${unpinned}  floors ${below.length === 0 ? "ok" : below.length}  audit: not available here\n`,
);
process.exitCode = isWhole ? 0 : 1;
