/** A package of `package-lock.json`. */
export interface LockEntry {
  readonly version?: string;
  readonly integrity?: string;
  readonly license?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

export type Lock = { readonly packages: Readonly<Record<string, LockEntry>> };

/**
 * What ships, as CycloneDX 1.6: every package of the lock that is not for development only, with its checksum, its licence
 * and what it needs. The same lock gives the same document: no time, no serial number. (`npm sbom --omit dev` leaves out
 * packages that a tool for development needs as well.)
 * @throws {Error} for a package without a version or a checksum
 */
export function sbomOf({ packages }: Lock): object {
  const root = packages[""] as LockEntry & { readonly name: string };
  const shipped = Object.entries(packages).filter(([path, { dev }]) => path !== "" && dev !== true);
  const refs = new Map(shipped.map(([path, entry]) => [path, purlOf(nameOf(path), entry)]));
  const rootRef = purlOf(root.name, root);
  const needs = (path: string, entry: LockEntry): string[] => {
    const { dependencies, optionalDependencies, peerDependencies } = entry;
    const names = Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies });
    const found = names.flatMap((name) => refs.get(placeOf(packages, path, name) ?? "") ?? []);
    return [...new Set(found)].sort();
  };
  // A package may lie in several places; it is one component.
  const components = new Map(
    shipped.map(([path, entry]) => [refs.get(path) ?? "", componentOf(nameOf(path), entry)]),
  );
  const dependencies = new Map([
    [rootRef, needs("", root)],
    ...shipped.map(([path, entry]) => [refs.get(path) ?? "", needs(path, entry)] as const),
  ]);
  return {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      component: {
        ...{ "bom-ref": rootRef, type: "application", name: root.name, version: root.version },
        purl: rootRef,
        ...licensesOf(root),
      },
    },
    components: [...components].sort(byRef).map(([, component]) => component),
    dependencies: [...dependencies].sort(byRef).map(([ref, dependsOn]) => ({ ref, dependsOn })),
  };
}

function byRef([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function componentOf(name: string, entry: LockEntry): object {
  const purl = purlOf(name, entry);
  const [algorithm, sum = ""] = entry.integrity?.split("-", 2) ?? [];
  if (algorithm !== "sha512") throw new Error(`${purl} has no SHA-512`);
  return {
    ...{ "bom-ref": purl, type: "library", name, version: entry.version, purl },
    scope: entry.optional === true ? "optional" : "required",
    hashes: [{ alg: "SHA-512", content: Buffer.from(sum, "base64").toString("hex") }],
    ...licensesOf(entry),
  };
}

function licensesOf({ license }: LockEntry): object {
  if (license === undefined) return {};
  const isExpression = /[\s()]/.test(license);
  return { licenses: [isExpression ? { expression: license } : { license: { id: license } }] };
}

/** https://github.com/package-url/purl-spec */
function purlOf(name: string, { version }: LockEntry): string {
  if (version === undefined) throw new Error(`${name} has no version`);
  return `pkg:npm/${name.replace("@", "%40")}@${version}`;
}

/** Where the lock has what a package finds under this name: beside it, or in a folder further up. */
export function placeOf(
  packages: Lock["packages"],
  from: string,
  name: string,
): string | undefined {
  for (
    let path = from;
    ;
    path = path.slice(0, Math.max(0, path.lastIndexOf("node_modules/") - 1))
  ) {
    const place = `${path === "" ? "" : `${path}/`}node_modules/${name}`;
    if (packages[place] !== undefined) return place;
    if (path === "") return undefined;
  }
}

/** The name of what lies in a place of the lock. */
export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
}
