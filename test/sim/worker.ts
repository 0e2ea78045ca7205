import { naiveCollector } from "./naive.ts";
import { drawSetting, type Setting, type Wish } from "./setting.ts";
import { type Outcome, World } from "./world.ts";

/** What a worker is asked for: a seed, with what it is to have more of, or a whole setting. */
export type Task =
  | (Wish & { readonly seed: number })
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
  const setting = "seed" in task ? drawSetting(task.seed, task) : task.setting;
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
