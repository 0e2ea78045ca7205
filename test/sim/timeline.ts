/** Something that happens at an instant of the simulated world. */
interface Happening {
  readonly time: number;
  readonly order: number;
  readonly label: string;
  /** Returns false when nothing came of it, so that nothing can follow from it. */
  readonly act: () => unknown;
}

/** Happenings of one instant beyond which something runs in circles without time going on. */
const MAX_PER_INSTANT = 50_000;

const nextTurn = setImmediate;

/**
 * The simulated world's time, whole ms, and what happens in it: always the earliest, of equal ones the first that was
 * planned. After each, everything that waits for it runs to its end before the next: the same plan, the same run.
 */
export class Timeline {
  readonly #heap: Happening[] = [];
  #now: number;
  #order = 0;
  #count = 0;
  #countAtInstant = 0;
  /** Called after each happening and everything that it set going. */
  onAfter: () => void = () => undefined;

  /** @param startTime epoch ms */
  constructor(startTime: number) {
    this.#now = startTime;
  }

  /** Epoch ms. */
  get now(): number {
    return this.#now;
  }

  /** Happenings so far. */
  get count(): number {
    return this.#count;
  }

  /** Plans `act` for an instant; one in the past is now. */
  at(time: number, label: string, act: () => unknown): void {
    const happening = {
      time: Math.max(this.#now, Math.ceil(time)),
      order: this.#order,
      label,
      act,
    };
    this.#order += 1;
    this.#push(happening);
  }

  /** Plans `act` for so many ms from now. */
  in(ms: number, label: string, act: () => unknown): void {
    this.at(this.#now + ms, label, act);
  }

  /** Lets everything happen up to `until` (epoch ms), or until `isOver` says so. */
  async run(until: number, isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const next = this.#heap[0];
      if (next === undefined || next.time > until) break;
      this.#pop();
      this.#countAtInstant = next.time === this.#now ? this.#countAtInstant + 1 : 0;
      if (this.#countAtInstant > MAX_PER_INSTANT) throw new Error(`no progress at ${next.label}`);
      this.#now = next.time;
      this.#count += 1;
      if (next.act() === false) continue;
      await new Promise<void>((resolve) => nextTurn(resolve));
      this.onAfter();
    }
    if (!isOver()) this.#now = Math.max(this.#now, until);
  }

  #push(happening: Happening): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(happening);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(happening, heap[parent] as Happening)) break;
      heap[index] = heap[parent] as Happening;
      index = parent;
    }
    heap[index] = happening;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (
        child + 1 < heap.length &&
        isBefore(heap[child + 1] as Happening, heap[child] as Happening)
      ) {
        child += 1;
      }
      if (!isBefore(heap[child] as Happening, last)) break;
      heap[index] = heap[child] as Happening;
      index = child;
    }
    heap[index] = last;
  }
}

function isBefore(a: Happening, b: Happening): boolean {
  return a.time < b.time || (a.time === b.time && a.order < b.order);
}
