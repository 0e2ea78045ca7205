import { apiFace } from "./api/index.ts";
import { binanceCompatible } from "./binance-compatible/face.ts";
import { dashboard } from "./dashboard/face.ts";
import type { Face } from "./parts.ts";
import { udf } from "./udf/face.ts";

/** Everything that is served besides `/metrics`, `/livez` and `/readyz`. */
export const FACES: readonly Face[] = [dashboard, apiFace, binanceCompatible, udf];
