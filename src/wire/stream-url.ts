/** What a stream URL asks for. */
export interface StreamUrl {
  readonly isCombined: boolean;
  readonly isMicro: boolean;
  /** Names as they stand in the URL, decoded; unknown and numeric ones are taken too. */
  readonly streams: readonly string[];
}

/**
 * Reads the path and query of an upgrade: `/ws`, `/ws/<s>[/<s>…]`, `/stream`, `/stream?streams=<s>/<s>`, `/stream/ws[/<any>]`,
 * each with `timeUnit` (binance.md §1.1, §4.1). Percent signs are decoded.
 * @returns `undefined` for any other path
 */
export function parseStreamUrl(url: string): StreamUrl | undefined {
  const [path = "", query = ""] = url.split("?", 2);
  const [first, ...rest] = namesOf(path);
  const isMicro = parameter(query, "timeUnit").toUpperCase() === "MICROSECOND";
  if (first === "ws") return { isCombined: false, isMicro, streams: rest };
  if (first !== "stream") return undefined;
  // ccxt tells spot from swap by `/stream` in the URL, so raw mode must exist beneath it as well.
  if (rest[0] === "ws") return { isCombined: false, isMicro, streams: rest.slice(1) };
  if (rest.length > 0) return undefined;
  return { isCombined: true, isMicro, streams: namesOf(parameter(query, "streams")) };
}

/** Not URLSearchParams: it would read the `+` of `@+08:00` as a blank. */
function parameter(query: string, name: string): string {
  const found = query.split("&").find((part) => part.startsWith(`${name}=`));
  return found === undefined ? "" : found.slice(name.length + 1);
}

function namesOf(path: string): string[] {
  return decoded(path)
    .split("/")
    .filter((name) => name !== "");
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
