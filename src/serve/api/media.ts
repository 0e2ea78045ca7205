import { HttpProblem } from "../problem.ts";

/** Formats of candles and their media types. */
export const MEDIA_TYPES = {
  json: "application/json",
  ndjson: "application/x-ndjson",
  csv: "text/csv",
  arrow: "application/vnd.apache.arrow.file",
  "arrow-stream": "application/vnd.apache.arrow.stream",
  parquet: "application/vnd.apache.parquet",
} as const;

/** One of {@link MEDIA_TYPES}. */
export type MediaFormat = keyof typeof MEDIA_TYPES;

export const MEDIA_FORMATS = Object.keys(MEDIA_TYPES) as [MediaFormat, ...MediaFormat[]];

/** Other names under which clients ask. */
const OTHER_NAMES: Readonly<Record<string, MediaFormat>> = {
  "*/*": "json",
  "application/*": "json",
  "text/*": "csv",
  "text/html": "json",
  "application/ndjson": "ndjson",
  "application/jsonl": "ndjson",
  "application/x-parquet": "parquet",
};

/**
 * The format that an Accept header asks for.
 * @throws {HttpProblem} 406 when it names none that there is
 */
export function acceptedFormat(accept: string | undefined): MediaFormat {
  if (accept === undefined || accept.trim() === "") return "json";
  const wanted = accept
    .toLowerCase()
    .split(",")
    .slice(0, 20)
    .map((part) => {
      const [type = "", ...parameters] = part.split(";").map((text) => text.trim());
      const quality = parameters.find((text) => text.startsWith("q="))?.slice(2);
      return { type, quality: quality === undefined ? 1 : Number(quality) || 0 };
    })
    .filter(({ quality }) => quality > 0)
    .sort((a, b) => b.quality - a.quality);
  for (const { type } of wanted) {
    const named = MEDIA_FORMATS.find((format) => MEDIA_TYPES[format] === type);
    const format = named ?? OTHER_NAMES[type];
    if (format !== undefined) return format;
  }
  throw new HttpProblem("E_HTTP_REQUEST", "none of the accepted media types is served here", {
    status: 406,
    remedy: `Accept one of ${Object.values(MEDIA_TYPES).join(", ")}, or name it: format=${MEDIA_FORMATS.join("|")}.`,
  });
}
