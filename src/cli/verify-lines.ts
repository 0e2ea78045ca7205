import type { Certificate } from "../core/certificate.ts";
import { type Finding, groupFindings, type Severity } from "../core/findings.ts";
import { seriesLabel } from "../core/series.ts";
import type { Verification } from "../ingest/verify.ts";
import { knownOutageOf } from "./known-outage.ts";
import { instant, type Output, paint, type Tone, tableLines } from "./output.ts";
import { grouped } from "./progress.ts";

const TONES: Readonly<Record<Severity, Tone>> = { wrong: "bad", suspect: "busy", info: "dim" };
const SHOWN = 60;

/** Whether there is nothing to do. */
export function isClean({ findings, certificates }: Verification): boolean {
  return (
    findings.every(({ severity }) => severity === "info") &&
    certificates.every((one) => one.isClean)
  );
}

/** What a repair did. */
export interface Repaired {
  readonly askedCount: number;
  readonly revisedCount: number;
  readonly storedCount: number;
  readonly after: Verification;
}

/** The findings, what a repair did, and the certificates of what is stored then. */
export function verificationLines(
  output: Output,
  found: Verification,
  repaired: Repaired | undefined,
  isListed: boolean,
): string[] {
  const { candleCount, certificates, findings } = found;
  return [
    `${grouped(candleCount)} candles of ${certificates.length} series checked`,
    ...findingLines(output, findings, isListed),
    ...(repaired === undefined
      ? []
      : [
          "",
          `repair: ${grouped(repaired.askedCount)} candles read again, ${grouped(repaired.revisedCount)} corrected (old versions kept), ${grouped(repaired.storedCount)} new`,
          "after the repair:",
          ...findingLines(output, repaired.after.findings, false),
        ]),
    "",
    ...certificateLines(output, (repaired?.after ?? found).certificates),
  ];
}

/** The same as one document. */
export function verificationDocument(found: Verification, repaired: Repaired | undefined): object {
  const last = repaired?.after ?? found;
  return {
    isClean: isClean(last),
    candleCount: found.candleCount,
    certificates: last.certificates,
    findings: found.findings.map(findingDocument),
    ...(repaired === undefined
      ? {}
      : {
          repair: {
            askedCount: repaired.askedCount,
            revisedCount: repaired.revisedCount,
            storedCount: repaired.storedCount,
            findingsAfter: repaired.after.findings.map(findingDocument),
          },
        }),
  };
}

function findingLines(output: Output, findings: readonly Finding[], isListed: boolean): string[] {
  if (findings.length === 0) return [paint(output, "good", "no findings")];
  if (isListed) {
    const rows = findings
      .slice(0, 10_000)
      .map((one) => [
        { text: seriesLabel(one.series) },
        { text: instant(one.openTime) },
        { text: one.severity, tone: TONES[one.severity] },
        { text: `${one.check}/${one.what}` },
        { text: `${one.evidence}${differencesText(one)}${outageText(one)}` },
      ]);
    return tableLines(output, ["SERIES", "OPENS", "SEVERITY", "CHECK", "EVIDENCE"], rows);
  }
  const groups = groupFindings(findings);
  const rows = groups
    .slice(0, SHOWN)
    .map((group) => [
      { text: seriesLabel(group.series) },
      { text: `${group.check}/${group.what}` },
      { text: group.severity, tone: TONES[group.severity] },
      { text: grouped(group.count), isRight: true },
      { text: instant(group.range.from) },
      { text: instant(group.range.to) },
    ]);
  const more = groups.length > SHOWN ? [`… and ${groups.length - SHOWN} more kinds`] : [];
  return [
    ...tableLines(output, ["SERIES", "CHECK", "SEVERITY", "COUNT", "FROM", "TO"], rows),
    ...more,
    "every one of them: --list or --json",
  ];
}

function differencesText({ differences }: Finding): string {
  const parts = differences.map(
    ({ field, actual, expected }) => `${field} ${actual} ≠ ${expected}`,
  );
  return parts.length === 0 ? "" : `: ${parts.join(", ")}`;
}

function outageText({ check, series, range }: Finding): string {
  const known = check === "gaps" ? knownOutageOf(series, range) : undefined;
  return known === undefined ? "" : `; ${known}`;
}

function findingDocument(finding: Finding): object {
  if (finding.check !== "gaps") return finding;
  return { ...finding, knownOutage: knownOutageOf(finding.series, finding.range) ?? null };
}

function certificateLines(output: Output, certificates: readonly Certificate[]): string[] {
  return tableLines(
    output,
    ["CERTIFICATE", "EXPECTED", "PRESENT", "CONFIRMED", "ABSENT", "CLEAN", "SHA-256"],
    certificates.map((one) => [
      { text: seriesLabel(one.series) },
      { text: grouped(one.expectedCount), isRight: true },
      { text: grouped(one.presentCount), isRight: true },
      { text: `${Math.floor(one.confirmedShare * 1_000) / 10} %`, isRight: true },
      {
        text:
          Object.entries(one.absentCounts)
            .map(([reason, count]) => `${grouped(count)} ${reason}`)
            .join(", ") || "-",
      },
      {
        text: one.isClean ? "yes" : "no",
        tone: one.isClean ? ("good" as const) : ("bad" as const),
      },
      { text: one.hash },
    ]),
  );
}
