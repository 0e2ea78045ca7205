import { parseArgs } from "node:util";

/** In place of a default: a number, or a text, that may be left out. */
export const NUMBER: unique symbol = Symbol("a number");
export const TEXT: unique symbol = Symbol("a text");

type Default = number | string | boolean | typeof NUMBER | typeof TEXT;

type Given<T extends Default> = T extends typeof NUMBER
  ? number | undefined
  : T extends typeof TEXT
    ? string | undefined
    : T extends number
      ? number
      : T extends boolean
        ? boolean
        : string;

/**
 * Options of a script of this project, by their defaults: a whole number (from one on; from zero where zero is the
 * default, or where it may be left out), a text, or `false` for a flag. Ends the process with 2 and one line on an option
 * that the script has not, or a number that is none: a run of no rounds would find nothing wrong.
 */
export function scriptOptions<const T extends Record<string, Default>>(
  defaults: T,
): { readonly [K in keyof T]: Given<T[K]> } {
  const options = Object.fromEntries(
    Object.entries(defaults).map(([name, value]) => [
      name,
      { type: typeof value === "boolean" ? ("boolean" as const) : ("string" as const) },
    ]),
  );
  let given: Record<string, unknown>;
  try {
    given = parseArgs({ options }).values;
  } catch (error) {
    refuse(error instanceof Error ? error.message : String(error));
  }
  const values = Object.entries(defaults).map(([name, value]) => {
    const text = given[name];
    if (text === undefined) return [name, typeof value === "symbol" ? undefined : value];
    const isNumber = value === NUMBER || typeof value === "number";
    const least = value === NUMBER || value === 0 ? 0 : 1;
    if (isNumber && !(/^\d{1,15}$/.test(String(text)) && Number(text) >= least)) {
      refuse(`--${name} ${text}: not a whole number from ${least} on`);
    }
    return [name, isNumber ? Number(text) : text];
  });
  return Object.fromEntries(values);
}

/** Ends the process with 2: what was asked for cannot be done. */
export function refuse(line: string): never {
  process.stderr.write(`${line.split("\n", 1)[0]}\n`);
  process.exit(2);
}

/** Names of a comma-separated list, of those that there are; all of them without a list. Ends the process with 2 on another. */
export function chosen(list: string | undefined, names: readonly string[]): readonly string[] {
  if (list === undefined) return names;
  const wanted = list.split(",").map((name) => name.trim());
  const unknown = wanted.find((name) => !names.includes(name));
  if (unknown !== undefined) refuse(`there is no ${unknown}; there are ${names.join(", ")}`);
  return wanted;
}
