import { templatesOf } from "./templates.ts";

/** What may stand in the text of a statement wherever it is: constants, numbers, names that are quoted. */
const HARMLESS: readonly RegExp[] = [
  /^[A-Z][A-Z_\d]*(?:\.join\(", "\))?$/,
  // Checked in its own file: numbers and constants.
  /^candlesSql\((?:\w+|\{[\w, ]+\})\)$/,
  /^whole\([\w.]+\)$/,
  /^Math\.ceil\([\w ./*]+\)$/,
  /^pg\.escape(?:Identifier|Literal)\([\w.]+\)$/,
  /^versionNumber\("[\w-]+", \d+\)$/,
  /^\w+ \? "\w+" : "\w+"$/,
];

/** Expressions that were looked at one by one, by file, and why they hold nothing from outside. */
const REVIEWED: Readonly<Record<string, readonly string[]>> = {
  // Queries of the callers in src/store, which are looked at where they are written.
  "src/store/binary-rows.ts": ["query"],
  // Columns by the table SQL_NAMES of the file, a tail of constants and `whole(…)`.
  "src/store/candle-columns.ts": ['names.join(", ")', "tail"],
  "src/store/candle-extent.ts": ['columns.join(", ")'],
  // Whole numbers of `whole` and `edgesOf`, "<=" or ">", and parts made of them in the same function.
  "src/store/candle-select.ts": [
    ...["from", "to", "time", "atMs", "within", "wasThere"],
    ...['revision(">")', 'revision("<=")'],
  ],
  // A name that the server's catalogue gave, as regclass writes it: quoted where it has to be.
  "src/store/chunks.ts": ["chunk.name"],
  // Constants of the callers in the same file.
  "src/store/coverage.ts": ["isOnGrid"],
  // Constants of migrations.
  "src/store/database.ts": ["setting"],
  // Not sent: what an administrator is shown to run. Names are quoted, or come from the server's catalogue.
  "src/store/db-errors.ts": ["role"],
  "src/store/migrate.ts": ["first.name"],
  "src/store/server-check.ts": ['rights.join(", ")', "first.schema"],
  "src/doctor/database.ts": ["name"],
  // A timeframe of our own is `<number><s|m|h|d|w>` by its parser, its source one of the enumeration; the rest are numbers.
  "src/store/rollups.ts": [
    ...["sourceMs", "stepMs", "originMs", "end", "source", "view", "name", "openMs", "stepMs - 1"],
    ...[
      "stepMs / sourceMs",
      "stepMs / 1_000",
      "instantText(originMs)",
      'cell("min")',
      'cell("max")',
    ],
    ...["viewOf(derived.name)", "viewOf(name)", "dataOf(derived.name)", "dataOf(name)"],
    ...["dataOf(timeframe)", "SUMS(sourceMs)", "SUMS(nominalMs(source))"],
    'SHOWN(derived, source, sourceMs, "cell.open_ms")',
    'SHOWN(derived, source, nominalMs(source), "candle_epoch_ms(d.bucket)")',
  ],
};

/** Texts of src/store that are statements or parts of one; elsewhere only what begins like a statement. */
const IN_STORE =
  /\b(?:select|insert into|update\s+\w+\s+set|delete from|where|from candles|order by|returning|copy|(?:alter|create|drop|comment on|refresh)\s+(?:materialized )?(?:database|table|index|role|view)|set local|truncate|grant|lock table|call)\b/i;
const ELSEWHERE =
  /^\s*(?:select\s|insert into\s|update\s+\w+\s+set\s|delete from\s|with\s+\w+\s+as|create\s+(?:table|database|role|view)|alter\s|drop\s|copy\s|set local\s|truncate\s|grant\s)/i;
/** A text of a statement that goes on with a plus, in one line. */
const JOINED = /\b(?:text:|copyIn\(|copyOut\(|\.query\()\s*(?:[\w.]+|"[^"]*"|'[^']*'|`[^`]*`)\s*\+/;

/** What is put into texts of statements and is not known to be harmless: `path:line: expression`. */
export function statementsWithInput(path: string, source: string): string[] {
  const isStatement = path.startsWith("src/store/") ? IN_STORE : ELSEWHERE;
  const reviewed = REVIEWED[path] ?? [];
  const put = templatesOf(source)
    .filter(({ text }) => isStatement.test(text))
    .flatMap(({ line, inserted }) =>
      inserted
        .filter((one) => !HARMLESS.some((form) => form.test(one)) && !reviewed.includes(one))
        .map((one) => `${path}:${line}: ${one}`),
    );
  const joined = source
    .split("\n")
    .flatMap((text, index) => (JOINED.test(text) ? [`${path}:${index + 1}: ${text.trim()}`] : []));
  return [...put, ...joined];
}

/** Reviewed expressions that no statement has any more. */
export function needlessReviews(sources: ReadonlyMap<string, string>): string[] {
  return Object.entries(REVIEWED).flatMap(([path, expressions]) => {
    const used = new Set(templatesOf(sources.get(path) ?? "").flatMap(({ inserted }) => inserted));
    return expressions.filter((one) => !used.has(one)).map((one) => `${path}: ${one}`);
  });
}
