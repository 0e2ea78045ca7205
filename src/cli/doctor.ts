import { Command } from "commander";
import { systemClock } from "../clock.ts";
import { CHECKS, diagnose, exitStatusOf, type Finding } from "../doctor/index.ts";
import { configOf, type ExitStatus, stopSignal, withDatabaseFlags } from "./command.ts";
import { type Output, paint, printable, type Tone, wrapped } from "./output.ts";

const WORDS: Readonly<Record<Finding["status"], { word: string; tone: Tone }>> = {
  ok: { word: "ok", tone: "good" },
  warn: { word: "warn", tone: "busy" },
  fail: { word: "FAIL", tone: "bad" },
  skip: { word: "skip", tone: "dim" },
};
/** What gave no answer may still keep the process from ending. */
const LAST_MS = 2_000;
const INDENT = " ".repeat(6);

/** `doctor`: what is wrong, and how to mend it. */
export function doctorCommand(output: Output, end: (status: ExitStatus) => void): Command {
  return withDatabaseFlags(new Command("doctor"))
    .description("check configuration, machine, database and exchange; says how to mend each")
    .option("--json", "one JSON document")
    .addHelpText(
      "before",
      `Examples:
  npx black-trade doctor
  npx black-trade doctor --json | jq '.checks[] | select(.status == "fail")'

It changes nothing, and may be run beside an ingester. The exchange is not asked while a ban is stored.
Every check has its section in docs/TROUBLESHOOTING.md.

Exit status: 0 nothing to mend, 1 something failed, 3 warnings only, 4 database or exchange cannot be used.
`,
    )
    .action(async (options: { json?: boolean }) => {
      const stop = stopSignal();
      try {
        const findings = await diagnose({
          clock: systemClock,
          signal: stop.signal,
          load: () => configOf({ ...options }),
          ...(options.json ? {} : { onFinding: inOrder(output) }),
        });
        const status = exitStatusOf(findings);
        if (options.json) output.result(JSON.stringify({ exitStatus: status, checks: findings }));
        else output.result(summary(output, findings));
        end(stop.signal.aborted ? stop.exitStatus() : status);
      } finally {
        stop.dispose();
        setTimeout(() => process.exit(), LAST_MS).unref();
      }
    });
}

/**
 * Shows findings in the order of the checks, each as soon as those before it are there. Neighbours that were skipped for
 * one reason share a line.
 */
function inOrder(output: Output): (finding: Finding) => void {
  const waiting = new Map<string, Finding>();
  const left = CHECKS.map(({ id }) => id);
  let skipped: Finding[] = [];
  const show = (finding: Finding): void => {
    for (const line of linesOf(output, finding)) output.result(line);
  };
  const flush = (): void => {
    const [first] = skipped;
    if (first !== undefined) show({ ...first, id: skipped.map(({ id }) => id).join(", ") });
    skipped = [];
  };
  return (finding) => {
    waiting.set(finding.id, finding);
    for (let next = left[0]; next !== undefined; next = left[0]) {
      const shown = waiting.get(next);
      if (shown === undefined) return;
      left.shift();
      const isSkip = shown.status === "skip";
      if (!isSkip || skipped[0]?.found !== shown.found) flush();
      if (isSkip) skipped.push(shown);
      else show(shown);
    }
    flush();
  };
}

function linesOf(output: Output, { id, status, found, remedy }: Finding): string[] {
  const { word, tone } = WORDS[status];
  const width = output.isTerminal ? output.columns - INDENT.length - 1 : Number.MAX_SAFE_INTEGER;
  const paragraph = (text: string): string[] =>
    text.split("\n").flatMap((line) => wrapped(printable(line), width, "  "));
  const [first = "", ...rest] = paragraph(`${id}: ${found}`);
  const remedies = remedy === undefined ? [] : paragraph(`→ ${remedy}`);
  return [
    `${paint(output, tone, word.padEnd(INDENT.length))}${first}`,
    ...rest.map((line) => `${INDENT}${line}`),
    ...remedies.map((line) => `${INDENT}${paint(output, status === "ok" ? "dim" : "plain", line)}`),
  ];
}

function summary(output: Output, findings: readonly Finding[]): string {
  const count = (status: Finding["status"]): number =>
    findings.filter((one) => one.status === status).length;
  const counts = `${count("ok")} ok, ${count("warn")} to look at, ${count("fail")} to mend, ${count("skip")} skipped`;
  const isWell = count("fail") === 0;
  return `\n${paint(output, isWell ? "good" : "bad", counts)}`;
}
