import { ApiError } from "./api-error.ts";

/**
 * The parameters of a REST request.
 * @throws {ApiError} −1101 for a repeated or (with no `known` names) any parameter, −1104 for an unknown one
 */
export function readQuery(query: string, known: readonly string[]): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(query)) {
    if (values.has(name)) {
      throw new ApiError(-1101, "Duplicate values for a parameter detected.");
    }
    values.set(name, value);
  }
  if (values.size > 0 && known.length === 0) {
    const msg = `Too many parameters; expected '0' and received '${values.size}'.`;
    throw new ApiError(-1101, msg);
  }
  const read = [...values.keys()].filter((name) => known.includes(name)).length;
  if (read < values.size) {
    const msg = `Not all sent parameters were read; read '${read}' parameter(s) but was sent '${values.size}'.`;
    throw new ApiError(-1104, msg);
  }
  return values;
}
