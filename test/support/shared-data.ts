import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

/**
 * Folder of recorded market data that tests read and the project does not contain: `BLACK_TRADE_DATA`, or
 * `../shared/data` beside the project. `undefined` where there is none.
 */
export function sharedDataFolder(): string | undefined {
  const named = process.env.BLACK_TRADE_DATA;
  const folder = named ?? join(import.meta.dirname, "../../../shared/data");
  return existsSync(folder) ? folder : undefined;
}

/** Option for `test()`: skips with the reason where the recorded data is absent. */
export function needsSharedData(): { readonly skip: string | false } {
  const hint = "recorded market data is absent: set BLACK_TRADE_DATA to its folder";
  return { skip: sharedDataFolder() === undefined ? hint : false };
}

/** Text of a recorded file, unzipped when its name ends in `.gz`. @throws when there is no such file */
export function readSharedData(path: string): string {
  const bytes = readFileSync(join(sharedDataFolder() ?? "", path));
  return (path.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("utf8");
}
