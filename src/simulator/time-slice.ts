import { setImmediate as nextTurn } from "node:timers/promises";

/** Above this the streams would be late for their frames. */
const SLICE_MS = 8;

/** Lets a long computation give way to everything else whenever it has run for some ms. */
export class TimeSlice {
  #start = performance.now();

  /** True when it is time to `await` {@link rest}. */
  get isOver(): boolean {
    return performance.now() - this.#start > SLICE_MS;
  }

  async rest(): Promise<void> {
    await nextTurn();
    this.#start = performance.now();
  }
}
