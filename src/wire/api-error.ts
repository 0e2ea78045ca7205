/** A refusal of REST with the exchange's own code and words (binance.md §2.4). */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly code: number;

  constructor(code: number, message: string, status = 400) {
    super(message);
    this.code = code;
    this.status = status;
  }

  /** The JSON body. */
  get body(): string {
    return JSON.stringify({ code: this.code, msg: this.message });
  }
}

export const SYMBOL_RANGE = "^[\\w\\-._&&[^a-z]]{1,50}$";

/** @param range the legal range as the exchange writes it */
export function illegalCharacters(parameter: string, range: string): ApiError {
  const msg = `Illegal characters found in parameter '${parameter}'; legal range is '${range}'.`;
  return new ApiError(-1100, msg);
}

export function missing(parameter: string): ApiError {
  const msg = `Mandatory parameter '${parameter}' was not sent, was empty/null, or malformed.`;
  return new ApiError(-1102, msg);
}

export function notValid(parameter: string): ApiError {
  return new ApiError(-1130, `Data sent for parameter '${parameter}' is not valid.`);
}

/** The refusal of a symbol; a server other than the exchange may add why. */
export const badSymbol = (): ApiError => new ApiError(-1121, "Invalid symbol.");
export const badInterval = (): ApiError => new ApiError(-1120, "Invalid interval.");

const DISCOURAGE_POLLING = "Please use WebSocket Streams for live updates to avoid";

export function tooMuchWeight(limit: number): ApiError {
  const msg = `Too much request weight used; current limit is ${limit} request weight per 1 MINUTE. ${DISCOURAGE_POLLING} polling the API.`;
  return new ApiError(-1003, msg, 429);
}

/** @param until epoch ms */
export function banned(until: number): ApiError {
  const msg = `Way too much request weight used; IP banned until ${until}. ${DISCOURAGE_POLLING} bans.`;
  return new ApiError(-1003, msg, 418);
}
