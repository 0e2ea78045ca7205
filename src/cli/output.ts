import { ERRORS } from "../core/errors.ts";
import { fileError } from "../core/file-fault.ts";

/** What a command writes to: results on stdout, everything else on stderr. */
export interface Output {
  readonly isTerminal: boolean;
  readonly hasColors: boolean;
  /** Columns of the terminal, or a usual number where there is none. */
  readonly columns: number;
  readonly rows: number;
  result(text: string): void;
  note(text: string): void;
}

const gone = new AbortController();

/** Aborted when nobody reads the output any more (`| head`, a closed terminal): what goes on then ends as by a signal. */
export const readerGone: AbortSignal = gone.signal;

/** The process's own streams. Colours only on a terminal that has them and wants them (NO_COLOR). */
export function processOutput(): Output {
  const { stdout, stderr } = process;
  for (const stream of [stdout, stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE" || error.code === "EIO") gone.abort();
      // A log that cannot be written is no reason to stop collecting; a result that cannot be written is.
      else if (stream === stdout) loseResult(error);
    });
  }
  const isTerminal = stdout.isTTY === true;
  return {
    isTerminal,
    hasColors: isTerminal && stdout.hasColors(),
    get columns() {
      return stdout.columns ?? 120;
    },
    get rows() {
      return stdout.rows ?? 40;
    },
    result: (text) => stdout.write(`${text}\n`),
    note: (text) => stderr.write(`${text}\n`),
  };
}

/** Says why there is no result, and ends the process as failed once what is open is closed. */
function loseResult(error: Error): void {
  if (gone.signal.aborted) return;
  const { message, remedy } = fileError(error, "stdout") ?? { message: `stdout: ${error.message}` };
  process.stderr.write(
    `error E_FILE: ${message}\n${remedy === undefined ? "" : `  → ${remedy}\n`}`,
  );
  process.once("exit", () => {
    process.exitCode = ERRORS.E_FILE.exit;
  });
  gone.abort();
}

/** Colours that carry a meaning; each also has a word, so nothing is said by colour alone. */
export type Tone = "good" | "busy" | "bad" | "dim" | "plain";

const TONES: Readonly<Record<Tone, string>> = {
  good: "\u001b[32m",
  busy: "\u001b[33m",
  bad: "\u001b[31m",
  dim: "\u001b[2m",
  plain: "",
};

/** Paints a text, when there are colours. */
export function paint(output: Pick<Output, "hasColors">, tone: Tone, text: string): string {
  return output.hasColors && tone !== "plain" ? `${TONES[tone]}${text}\u001b[0m` : text;
}

/** One cell of a table. */
export interface Cell {
  readonly text: string;
  readonly tone?: Tone;
  readonly isRight?: boolean;
}

/**
 * Lines of a table, headings first; columns as wide as their widest cell, the last one cut to the terminal.
 * Control characters in a cell (a hostile symbol name) are shown as `?`.
 */
export function tableLines(
  output: Pick<Output, "hasColors" | "columns" | "isTerminal">,
  headings: readonly string[],
  rows: readonly (readonly Cell[])[],
): string[] {
  const cells = [
    headings.map(
      (text, column): Cell => ({
        text,
        tone: "dim",
        isRight: rows.some((row) => row[column]?.isRight === true),
      }),
    ),
    ...rows.map((row) => row.map((cell) => ({ ...cell, text: printable(cell.text) }))),
  ];
  const widths = headings.map((_, column) =>
    Math.max(...cells.map((row) => displayWidth(row[column]?.text ?? ""))),
  );
  return cells.map((row) => {
    let used = 0;
    const parts = row.map((cell, column) => {
      const isLast = column === headings.length - 1;
      const room = output.isTerminal
        ? Math.max(8, output.columns - used - 1)
        : Number.MAX_SAFE_INTEGER;
      const text = isLast ? cutTo(cell.text, room) : cell.text;
      const width = isLast && !cell.isRight ? displayWidth(text) : (widths[column] ?? 0);
      used += width + 2;
      const pad = " ".repeat(Math.max(0, width - displayWidth(text)));
      const painted = paint(output, cell.tone ?? "plain", text);
      return cell.isRight ? pad + painted : painted + (isLast ? "" : pad);
    });
    return parts.join("  ").trimEnd();
  });
}

/** A text without controls: a hostile name can neither move the cursor nor forge a line. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, "?");
}

/** Controls, and marks that turn the direction of writing. */
const UNPRINTABLE = /[\p{Cc}\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** Columns that a text takes on a terminal: CJK and emoji take two a character, accents of their own none. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) width += WIDE.test(character) ? 2 : NARROW.test(character) ? 0 : 1;
  return width;
}

const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u;
const NARROW = /[\p{Mn}\p{Me}\p{Cf}]/u;

/** A text as lines of at most so many columns, broken between words; all but the first are indented. */
export function wrapped(text: string, columns: number, indent: string): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (line === "" || displayWidth(longer) <= columns) line = longer;
    else {
      lines.push(line);
      line = `${indent}${word}`;
    }
  }
  return [...lines, line];
}

function cutTo(text: string, room: number): string {
  if (displayWidth(text) <= room) return text;
  if (room < 1) return "";
  let cut = "";
  for (const character of text) {
    if (displayWidth(cut) + displayWidth(character) >= room) break;
    cut += character;
  }
  return `${cut}…`;
}

/** A terminal's second screen, drawn again and again; what was on the first one is there again after `close`. */
export class Screen {
  readonly #output: Output;
  readonly #restore = (): void => this.close();
  #isOpen = false;

  constructor(output: Output) {
    this.#output = output;
  }

  /** Draws the lines over the ones drawn before, cut to the terminal; the foot is always there. */
  draw(lines: readonly string[], foot: readonly string[] = []): void {
    const open = this.#isOpen ? "" : "\u001b[?1049h\u001b[?25l";
    if (!this.#isOpen) process.on("exit", this.#restore);
    this.#isOpen = true;
    const { rows, columns } = this.#output;
    // A line as wide as the terminal would leave the cursor where clearing the rest takes the last character.
    const shown = fitted(lines, foot, Math.max(1, rows - 1)).map(
      (line) => `${cutPainted(line, columns - 1)}\u001b[K`,
    );
    this.#output.result(`${open}\u001b[H${shown.join("\n")}\u001b[J`);
  }

  /** Gives the terminal back. */
  close(): void {
    if (!this.#isOpen) return;
    this.#output.result("\u001b[?25h\u001b[?1049l");
    process.off("exit", this.#restore);
    this.#isOpen = false;
  }
}

function fitted(lines: readonly string[], foot: readonly string[], height: number): string[] {
  if (lines.length + foot.length <= height) return [...lines, ...foot];
  const kept = foot.slice(-height);
  const room = height - kept.length - 1;
  if (room < 1) return kept;
  return [
    ...lines.slice(0, room),
    `… ${lines.length - room} more lines: make the terminal higher`,
    ...kept,
  ];
}

/** Cuts a line that may hold colours to a number of columns. */
function cutPainted(line: string, columns: number): string {
  let width = 0;
  let cut = "";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape that begins a colour
  for (const part of line.split(/(\u001b\[[0-9;]*m)/)) {
    if (part.startsWith("\u001b[")) cut += part;
    else {
      const shown = cutTo(part, columns - width);
      width += displayWidth(shown);
      cut += shown;
    }
  }
  return cut;
}

/** A duration for people: `1.2 s`, `3 min`, `5 h`, `2 d`. */
export function duration(ms: number): string {
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 120_000) return `${Math.round(ms / 1_000)} s`;
  if (ms < 2 * 3_600_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 72 * 3_600_000
    ? `${Math.round(ms / 3_600_000)} h`
    : `${Math.round(ms / 86_400_000)} d`;
}

/** A number of bytes for people: `812 B`, `3.4 MB`, `1.2 GB`. */
export function byteSize(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  const units = ["kB", "MB", "GB", "TB"];
  const step = Math.min(units.length, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1_000 ** step;
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[step - 1]}`;
}

/** A latency for people: `84 ms`, `1.2 s`. */
export function latency(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : duration(ms);
}

/** An instant beside others for people: the time alone when it is of the same day as `now`, UTC. */
export function moment(timeMs: number, now: number): string {
  const text = instant(timeMs);
  return text.slice(0, 10) === instant(now).slice(0, 10) ? text.slice(11) : text.slice(0, 16);
}

/** An instant for people: UTC, to the second. */
export function instant(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 19).replace("T", " ");
}
