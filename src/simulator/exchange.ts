import type { Limits } from "../wire/limits.ts";
import type { Faults } from "./faults.ts";
import type { Journal } from "./journal.ts";
import type { Market } from "./market.ts";
import type { Pace, Switches } from "./options.ts";

/** What every part of the simulator needs to know of the whole. */
export interface Exchange {
  readonly market: Market;
  /** Exchange time, epoch ms: what the market and all limits run on. */
  now(): number;
  /** Exchange time as the exchange tells it: off while the fault `clockSkew` lasts. */
  toldTime(): number;
  readonly faults: Faults;
  readonly journal: Journal;
  readonly limits: Limits;
  readonly pace: Pace;
  readonly switches: Switches;
}
