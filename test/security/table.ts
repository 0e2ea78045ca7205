import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A test that shows a control. */
export interface NamedTest {
  /** Path from the root of the project. */
  readonly file: string;
  readonly name: string;
}

/** A row of docs/SECURITY.md. */
export interface Row {
  /** `S1` … */
  readonly number: string;
  readonly control: string;
  readonly tests: readonly NamedTest[];
  /** Why there is nothing to control. */
  readonly doesNotApply: string | undefined;
}

const NOT = "does not apply: ";

/** The table of docs/SECURITY.md. @throws {Error} for a test that is not written as `file`: name */
export function readTable(root: string): Row[] {
  return readFileSync(join(root, "docs/SECURITY.md"), "utf8")
    .split("\n")
    .filter((line) => /^\| S\d+ \|/.test(line))
    .map((line) => {
      const cells = line.split("|").map((cell) => cell.trim());
      const [, number = "", , control = "", tests = ""] = cells;
      return {
        number,
        control,
        tests: tests.split(/; (?=`)/).flatMap((text) => (text === "" ? [] : [namedTest(text)])),
        doesNotApply: control.startsWith(NOT) ? control.slice(NOT.length) : undefined,
      };
    });
}

function namedTest(text: string): NamedTest {
  const [, file, name] = /^`([^`]+)`: (.+)$/.exec(text) ?? [];
  if (file === undefined || name === undefined) throw new Error(`not a test: ${text}`);
  return { file, name };
}

/** True for a test's own name, which may hold a value in its place, or the number of a row. */
export function isNamed(actual: string, name: string): boolean {
  return (
    actual === name ||
    actual.endsWith(`: ${name}`) ||
    (/^S\d+ /.test(actual) && actual.slice(actual.indexOf(" ") + 1) === name)
  );
}
