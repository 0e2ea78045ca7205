/** Lines of the table of docs/PERFORMANCE.md, and how they are written. Nothing here measures. */

/** A figure that has to be reached. */
export interface Target {
  /** As it is shown: `≤ 2`. */
  readonly text: string;
  readonly isMet: boolean;
}

/** One line of the table. */
export interface Line {
  readonly what: string;
  readonly ours: string;
  /** What it was compared with in the same run. */
  readonly beside?: string;
  readonly ratio?: number;
  readonly target?: Target;
}

/** The lines of one benchmark, and the machine's state when it was run. */
export interface Measured {
  readonly name: string;
  readonly title: string;
  /** ISO 8601, to the minute. */
  readonly date: string;
  /** Load averages of 1, 5 and 15 minutes just before it. */
  readonly load: readonly number[];
  readonly tookS: number;
  readonly lines: readonly Line[];
  /** Why there are no lines. */
  readonly failed?: string;
  /** What the benchmark itself printed. */
  readonly report: unknown;
}

const BEGIN = "<!-- figures: begin, written by npm run bench -->";
const END = "<!-- figures: end -->";

/** A target that a value must not pass. */
export function atMost(value: number, limit: number, unit = ""): Target {
  return { text: `≤ ${limit}${unit}`, isMet: value <= limit };
}

/** A target that a value must reach. */
export function atLeast(value: number, limit: number, unit = ""): Target {
  return { text: `≥ ${limit}${unit}`, isMet: value >= limit };
}

/** The runs of `before` with those of `now` in their place; in the order of `names`. */
export function merged(
  before: readonly Measured[],
  now: readonly Measured[],
  names: readonly string[],
): Measured[] {
  return names.flatMap((name) => {
    const one = [...now, ...before].find((other) => other.name === name);
    return one ?? [];
  });
}

/** A table for a terminal, one line a figure. */
export function textOf({ title, load, tookS, lines, failed }: Measured): string {
  const head = `${title} (${tookS} s, load ${load.join(" ")})`;
  if (failed !== undefined) return `${head}\n  not measured: ${failed}`;
  const width = Math.max(...lines.map(({ what }) => what.length));
  return [
    head,
    ...lines.map((line) =>
      `  ${line.what.padEnd(width)}  ${[line.ours, besideText(line), targetText(line)].filter((text) => text !== "").join("  ")}`.trimEnd(),
    ),
  ].join("\n");
}

function besideText({ beside, ratio }: Line): string {
  const ratioText = ratio === undefined ? "" : `ratio ${ratio.toFixed(2)}`;
  return [beside === undefined ? "" : `beside ${beside}`, ratioText]
    .filter((text) => text !== "")
    .join(", ");
}

function targetText({ target }: Line): string {
  return target === undefined ? "" : `${target.text} ${target.isMet ? "met" : "NOT MET"}`;
}

/** The same as Markdown. */
export function markdownOf(runs: readonly Measured[]): string {
  return runs
    .map(({ title, date, load, lines, failed }) => {
      const head = `### ${title}\n\n${date}, load average ${load.join(", ")}.`;
      if (failed !== undefined) return `${head} Not measured: ${failed}.`;
      const rows = lines.map(({ what, ours, beside = "", ratio, target }) => {
        const met =
          target === undefined ? "" : `${target.text}: ${target.isMet ? "met" : "**not met**"}`;
        return `| ${[what, ours, beside, ratio?.toFixed(2) ?? "", met].map(cell).join(" | ")} |`;
      });
      return `${head}\n\n| what | black-trade | beside | ratio | target |\n| --- | --- | --- | --- | --- |\n${rows.join("\n")}`;
    })
    .join("\n\n");
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}

/** A page with new figures between the two marks. @throws {Error} when the page does not have them */
export function withFigures(page: string, figures: string): string {
  const from = page.indexOf(BEGIN);
  const to = page.indexOf(END);
  if (from === -1 || to < from) throw new Error(`the page has no "${BEGIN}" … "${END}"`);
  return `${page.slice(0, from + BEGIN.length)}\n\n${figures}\n\n${page.slice(to)}`;
}
