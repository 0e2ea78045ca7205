import type { FaultKind } from "./faults.ts";
import { naiveCollector } from "./naive.ts";
import type { Setting } from "./setting.ts";
import { drawSetting } from "./setting.ts";
import { type Outcome, World } from "./world.ts";

/** What a worker is asked for: a seed, with kinds of faults that it is to have more of, or a whole setting. */
export type Task =
  | { readonly seed: number; readonly kinds?: readonly FaultKind[] }
  | {
      readonly setting: Setting;
      /** Puts the plain collector into the world in place of ours. */
      readonly isPlain?: boolean;
    };

/** What it answers. */
export interface Done {
  readonly outcome: Outcome;
  readonly setting: Setting;
}

// A child of `pool.ts`: one run after another, each told by its parent.
process.on("message", (task: Task) => {
  const setting = "seed" in task ? drawSetting(task.seed, task.kinds) : task.setting;
  const isPlain = "isPlain" in task && task.isPlain === true;
  new World(setting, isPlain ? { program: naiveCollector, isLenient: true } : {})
    .run()
    .then((outcome) => process.send?.({ outcome, setting } satisfies Done))
    .catch((error: unknown) => {
      // The world itself is broken.
      process.stderr.write(
        `seed ${setting.seed}: ${error instanceof Error ? error.stack : error}\n`,
      );
      process.exit(70);
    });
});
