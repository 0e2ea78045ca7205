import { readFileSync } from "node:fs";
import { join } from "node:path";

/** What a package is looked at for. */
export interface Floor {
  /**
   * The oldest version that may ship, or one for each major version that is mended; `null` = it must not ship at all;
   * `none found` = looked for, and no advisory was found.
   */
  readonly floor: string | readonly string[] | null;
  /** What can happen below it, with the advisory; or when it was looked for. */
  readonly why: string;
}

export type Floors = Readonly<Record<string, Floor>>;

interface LockEntry {
  readonly version?: string;
  readonly dev?: boolean;
}

const NONE_FOUND = "none found";

/** `security/floors.json`, by the name of the package. */
export function readFloors(root: string): Floors {
  return readJson<Floors>(join(root, "security/floors.json"));
}

/** What ships, by the lock: where it lies, and its version. */
export function shipped(root: string): (readonly [path: string, version: string])[] {
  const lock = readJson<{ packages: Readonly<Record<string, LockEntry>> }>(
    join(root, "package-lock.json"),
  );
  return Object.entries(lock.packages)
    .filter(([path, { dev }]) => path !== "" && dev !== true)
    .map(([path, { version = "" }]) => [path, version] as const);
}

/** Packages of the lock that ship although they are below their floor, in words. */
export function shippedBelow(root: string, floors = readFloors(root)): string[] {
  return shipped(root).flatMap(([path, version]) => {
    const wanted = floorOf(path.slice(path.lastIndexOf("node_modules/") + 13), floors);
    if (wanted === undefined || wanted.floor === NONE_FOUND) return [];
    if (wanted.floor !== null && !isBelow(version, wanted.floor)) return [];
    return [`${path} ${version}: ${wanted.floor ?? "none"} is needed, ${wanted.why}`];
  });
}

function floorOf(name: string, floors: Floors): Floor | undefined {
  return floors[name] ?? floors[name.replace(/\/.*$/, "/*")];
}

/**
 * Compares versions by number; what comes before a release is below it. Of several floors the one of the version's own
 * major counts; without one, the version has to be above them all.
 */
export function isBelow(version: string, floor: string | readonly string[]): boolean {
  if (typeof floor !== "string") {
    const own = floor.filter((one) => majorOf(one) === majorOf(version));
    return (own.length > 0 ? own : floor).some((one) => isBelow(version, one));
  }
  const parts = (text: string): number[] => (text.split("-")[0] ?? "").split(".").map(Number);
  const [have, want] = [parts(version), parts(floor)];
  for (let index = 0; index < 3; index += 1) {
    const difference = (have[index] ?? 0) - (want[index] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return version.includes("-") && !floor.includes("-");
}

function majorOf(version: string): string {
  return version.split(".")[0] ?? "";
}

function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, "utf8")) as T;
}
