import { execFile } from "node:child_process";

const DEADLINE_MS = 30_000;

/** What the registry knows of the packages that ship. */
export type Audit =
  | { readonly isAvailable: true; readonly found: readonly string[]; readonly packageCount: number }
  | { readonly isAvailable: false; readonly reason: string };

interface AuditReport {
  readonly vulnerabilities?: Readonly<Record<string, { readonly severity: string }>>;
  readonly metadata?: { readonly dependencies: { readonly total: number } };
  readonly message?: string;
  readonly error?: { readonly code?: string; readonly summary?: string };
}

/** Asks `npm audit`. A registry without that endpoint is no fault of what is asked about. */
export async function auditShipped(root: string): Promise<Audit> {
  const args = ["audit", "--omit=dev", "--json"];
  const text = await new Promise<string>((resolve) => {
    // It ends with 1 when it found something: what counts is what it wrote.
    execFile("npm", args, { cwd: root, timeout: DEADLINE_MS }, (_error, stdout) => resolve(stdout));
  });
  return readAudit(text);
}

/** @param text what `npm audit --json` wrote */
export function readAudit(text: string): Audit {
  let report: AuditReport;
  try {
    report = JSON.parse(text) as AuditReport;
  } catch {
    return { isAvailable: false, reason: "no answer" };
  }
  const { vulnerabilities, metadata, error, message = "the registry has none" } = report;
  if (vulnerabilities === undefined || metadata === undefined) {
    return { isAvailable: false, reason: error?.code ?? message.split(" - ")[0] ?? "" };
  }
  const found = Object.entries(vulnerabilities).map(
    ([name, { severity }]) => `${name} ${severity}`,
  );
  return { isAvailable: true, found, packageCount: metadata.dependencies.total };
}
