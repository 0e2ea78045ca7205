/** How numbers, times and stretches are said. Times are epoch ms; everything is shown in UTC. */

/** @param {number} time @returns {string} `2026-01-31 12:00:00` */
export function utc(time) {
  return new Date(time).toISOString().slice(0, 19).replace("T", " ");
}

/** @param {number} time @returns {string} `2026-01-31` */
export function utcDay(time) {
  return new Date(time).toISOString().slice(0, 10);
}

/** @param {number} time @returns {string} `12:00:00` */
export function utcClock(time) {
  return new Date(time).toISOString().slice(11, 19);
}

const UNITS = /** @type {const} */ ([
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
]);

/** @param {number | undefined} ms @returns {string} two units at most: `2 h 5 min`, `840 ms` */
export function duration(ms) {
  if (ms === undefined || !Number.isFinite(ms)) return "–";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  for (const [index, [size, name]] of UNITS.entries()) {
    if (ms < size) continue;
    const whole = Math.floor(ms / size);
    const next = UNITS[index + 1];
    const rest = next === undefined ? 0 : Math.floor((ms - whole * size) / next[0]);
    return rest > 0 && next !== undefined
      ? `${whole} ${name} ${rest} ${next[1]}`
      : `${whole} ${name}`;
  }
  return "–";
}

/** @param {number} value @returns {string} */
export function count(value) {
  return value.toLocaleString("en-US", { maximumFractionDigits: value < 10 ? 1 : 0 });
}

/** @param {number} part @param {number} whole @returns {string} rounded down: 100 % means all of it */
export function percent(part, whole) {
  if (whole === 0) return "–";
  return `${(Math.floor((part / whole) * 1_000) / 10).toFixed(part === whole ? 0 : 1)} %`;
}

/** @param {string} decimal @returns {number} digits behind the point that carry something */
export function fractionDigits(decimal) {
  return /\.(\d*?)0*$/.exec(decimal)?.[1]?.length ?? 0;
}
