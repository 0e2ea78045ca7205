/**
 * Takes real time and real chance away: what the program uses of them would make two runs of a seed differ.
 * @param onUse told what was used
 * @returns gives them back
 */
export function forbidRealTime(onUse: (what: string) => void): () => void {
  const saved = {
    now: Date.now,
    random: Math.random,
    fetch: globalThis.fetch,
    setTimeout: globalThis.setTimeout,
    setInterval: globalThis.setInterval,
    setImmediate: globalThis.setImmediate,
    performanceNow: performance.now,
  };
  const forbid = (what: string) => (): never => {
    onUse(what);
    throw new Error(`${what} is not there in a simulation`);
  };
  Date.now = forbid("Date.now");
  Math.random = forbid("Math.random");
  globalThis.setTimeout = forbid("setTimeout") as unknown as typeof setTimeout;
  globalThis.setInterval = forbid("setInterval") as unknown as typeof setInterval;
  globalThis.setImmediate = forbid("setImmediate") as unknown as typeof setImmediate;
  performance.now = forbid("performance.now");
  return () => {
    Date.now = saved.now;
    Math.random = saved.random;
    globalThis.fetch = saved.fetch;
    globalThis.setTimeout = saved.setTimeout;
    globalThis.setInterval = saved.setInterval;
    globalThis.setImmediate = saved.setImmediate;
    performance.now = saved.performanceNow;
  };
}
