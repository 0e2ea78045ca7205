import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The oldest version of a package that may ship; `null` = it must not ship at all. */
export interface Floor {
  readonly floor: string | null;
  readonly why: string;
}

interface LockEntry {
  readonly version?: string;
  readonly dev?: boolean;
}

/** Packages of the lock that ship although they are below their floor, in words. */
export function shippedBelow(
  root: string,
  floors = readJson<Readonly<Record<string, Floor>>>(join(root, "security/floors.json")),
): string[] {
  const lock = readJson<{ packages: Readonly<Record<string, LockEntry>> }>(
    join(root, "package-lock.json"),
  );
  return Object.entries(lock.packages).flatMap(([path, { version = "", dev }]) => {
    const wanted = floors[path.slice(path.lastIndexOf("node_modules/") + 13)];
    if (wanted === undefined || dev === true) return [];
    if (wanted.floor !== null && !isBelow(version, wanted.floor)) return [];
    return [`${path} ${version}: ${wanted.floor ?? "none"} is needed, ${wanted.why}`];
  });
}

/** Compares versions by number; what comes before a release is below it. */
export function isBelow(version: string, floor: string): boolean {
  const parts = (text: string): number[] => (text.split("-")[0] ?? "").split(".").map(Number);
  const [have, want] = [parts(version), parts(floor)];
  for (let index = 0; index < 3; index += 1) {
    const difference = (have[index] ?? 0) - (want[index] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return version.includes("-") && !floor.includes("-");
}

function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, "utf8")) as T;
}
