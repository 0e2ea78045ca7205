/** A template literal of a source file with something put into it. */
export interface Template {
  /** Line of its beginning, from 1. */
  readonly line: number;
  /** Its own text, what is put in left out. */
  readonly text: string;
  /** The expressions that are put in, as they are written, white space made one. */
  readonly inserted: readonly string[];
}

/** Before a `/` these make it a pattern; after a value it divides. */
const BEFORE_PATTERN = /(?:[(,=:[!&|?{};+*%<>~^-]|\breturn|\btypeof|\bcase|^)$/;

/**
 * Template literals of TypeScript, nested ones as well. Knows just enough of the language for that: comments, strings,
 * patterns, braces.
 * @throws {Error} when something does not end, so that what is misread is seen
 */
export function templatesOf(source: string): Template[] {
  const found: Template[] = [];
  const skip = (from: number, end: string): number => {
    const at = source.indexOf(end, from);
    if (at < 0) throw new Error(`${end} is missing after ${source.slice(from, from + 40)}`);
    return at + end.length;
  };

  /** @param open offset after the opening sign @returns offset after the closing one */
  const quoted = (open: number, sign: string): number => {
    for (let at = open; at < source.length; at += 1) {
      if (source[at] === "\\") at += 1;
      else if (source[at] === sign) return at + 1;
      else if (source[at] === "\n") break;
    }
    throw new Error(`${sign} is not closed: ${source.slice(open, open + 40)}`);
  };

  const pattern = (open: number): number => {
    let isClass = false;
    for (let at = open; at < source.length && source[at] !== "\n"; at += 1) {
      if (source[at] === "\\") at += 1;
      else if (source[at] === "[") isClass = true;
      else if (source[at] === "]") isClass = false;
      else if (source[at] === "/" && !isClass) return at + 1;
    }
    throw new Error(`a pattern is not closed: ${source.slice(open, open + 40)}`);
  };

  const template = (open: number): number => {
    const inserted: string[] = [];
    let text = "";
    for (let at = open; at < source.length; at += 1) {
      if (source[at] === "`") {
        if (inserted.length > 0) {
          const line = source.slice(0, open).split("\n").length;
          found.push({ line, text, inserted });
        }
        return at + 1;
      }
      if (source.startsWith("${", at)) {
        const end = code(at + 2, true);
        inserted.push(
          source
            .slice(at + 2, end)
            .replace(/\s+/g, " ")
            .trim(),
        );
        text += " … ";
        at = end;
      } else {
        if (source[at] === "\\") at += 1;
        text += source[at];
      }
    }
    throw new Error(`a template is not closed: ${source.slice(open, open + 40)}`);
  };

  /** @returns offset of the brace that closes what is put in, or the end of the file */
  const code = (from: number, isInserted: boolean): number => {
    let depth = 0;
    let before = "";
    for (let at = from; at < source.length; ) {
      const sign = source[at] ?? "";
      if (source.startsWith("//", at)) at = skip(at, "\n");
      else if (source.startsWith("/*", at)) at = skip(at + 2, "*/");
      else if (sign === "'" || sign === '"') at = quoted(at + 1, sign);
      else if (sign === "`") at = template(at + 1);
      else if (sign === "/" && BEFORE_PATTERN.test(before.trimEnd())) at = pattern(at + 1);
      else {
        if (sign === "{") depth += 1;
        if (sign === "}" && isInserted && depth === 0) return at;
        if (sign === "}") depth -= 1;
        at += 1;
        before = (before + sign).slice(-12);
        continue;
      }
      before = /[/*]/.test(sign) && source[at - 1] === "\n" ? before : `${before}"`.slice(-12);
    }
    if (isInserted) throw new Error("what is put in does not end");
    return source.length;
  };

  code(0, false);
  return found;
}
