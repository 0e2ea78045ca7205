import { EXCHANGE_TARGETS } from "./exchange-targets.ts";
import { FILE_TARGETS } from "./file-targets.ts";
import { HTTP_TARGETS } from "./http-targets.ts";
import { SOCKET_TARGETS } from "./socket-targets.ts";
import type { Target, TargetMaker } from "./target.ts";
import { USER_TARGETS } from "./user-targets.ts";
import { WEBSOCKET_TARGETS } from "./websocket-targets.ts";

const ready = (target: Target): TargetMaker => ({ name: target.name, open: async () => target });

/** Every place where something from outside is read. */
export const TARGETS: readonly TargetMaker[] = [
  ...[...EXCHANGE_TARGETS, ...USER_TARGETS].map(ready),
  ...FILE_TARGETS,
  ...HTTP_TARGETS,
  ...WEBSOCKET_TARGETS,
  ...SOCKET_TARGETS,
];
