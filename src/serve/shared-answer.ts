/** From when it was asked for, an answer of the database is shared for so long at least, and at most. */
const MIN_SHARED_MS = 1_000;
const MAX_SHARED_MS = 5_000;
/** And between the two for so many times as long as it took, so that reading is a small part of the work however much is read. */
const SHARE_OF_TIME = 10;

/**
 * One answer for all who ask while it is under way and for a while afterwards; a failure, too, but for the shortest while.
 * It is not kept longer: the states of tens of thousands of series are tens of megabytes.
 */
export function sharedAnswer<T>(
  read: () => Promise<T>,
  monotonicMs: () => number,
): () => Promise<T> {
  let answer: Promise<T> | undefined;
  let sharedUntil = Number.POSITIVE_INFINITY;
  return () => {
    if (answer !== undefined && monotonicMs() < sharedUntil) return answer;
    const began = monotonicMs();
    sharedUntil = Number.POSITIVE_INFINITY;
    const reading = read();
    answer = reading;
    const share = (sharedMs: number): void => {
      sharedUntil = began + sharedMs;
      const forget = (): void => {
        if (answer === reading) answer = undefined;
      };
      setTimeout(forget, Math.max(0, sharedUntil - monotonicMs())).unref();
    };
    reading.then(
      () => {
        const wantedMs = (monotonicMs() - began) * SHARE_OF_TIME;
        share(Math.min(MAX_SHARED_MS, Math.max(MIN_SHARED_MS, wantedMs)));
      },
      () => share(MIN_SHARED_MS),
    );
    return reading;
  };
}

/** What is made of a list is made once for all who were given the same list. */
export function onceOf<One, Made>(
  make: (all: readonly One[]) => Made,
): (all: readonly One[]) => Made {
  const known = new WeakMap<readonly One[], { readonly made: Made }>();
  return (all) => {
    const entry = known.get(all) ?? { made: make(all) };
    known.set(all, entry);
    return entry.made;
  };
}
