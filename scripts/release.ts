import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Lock, sbomOf } from "./sbom.ts";

/**
 * Builds a release into `release/`, or the folder that is named: the package, its bill of materials, and the SHA-256 of
 * both, which `sha256sum --check SHA256SUMS` checks. The same sources give the same bytes. Run: `npm run release`.
 */
const root = join(import.meta.dirname, "..");
const folder = resolve(process.argv[2] ?? join(root, "release"));

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const isWindows = process.platform === "win32";
const printed = execFileSync("npm", ["pack", "--json", "--pack-destination", folder], {
  cwd: root,
  encoding: "utf8",
  stdio: ["ignore", "pipe", "inherit"],
  shell: isWindows,
});
// The scripts that build it write before the document.
const [packed] = JSON.parse(printed.slice(printed.search(/^\[$/m))) as [{ filename: string }];
const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as Lock;
const sbom = packed.filename.replace(/\.tgz$/, ".cdx.json");
writeFileSync(join(folder, sbom), `${JSON.stringify(sbomOf(lock), undefined, 2)}\n`);

const sums = [packed.filename, sbom].map((name) => {
  const sum = createHash("sha256").update(readFileSync(join(folder, name)));
  return `${sum.digest("hex")}  ${name}\n`;
});
writeFileSync(join(folder, "SHA256SUMS"), sums.join(""));
process.stdout.write(`${folder}\n${sums.join("")}`);
