/**
 * Least ceiling of a retry delay, whatever the policy says: one that starts at 0 would double 0 for ever and hammer the
 * other side.
 */
export const MIN_CEILING_MS = 100;

/**
 * Growth of a retry delay: the ceiling starts at `baseMs`, doubles with every attempt and stops at `capMs`. Either counts
 * as {@link MIN_CEILING_MS} at least.
 */
export interface BackoffPolicy {
  readonly baseMs: number;
  readonly capMs: number;
}

/** A connection must have lived this long before its next failure starts again at the first step. */
export const HEALTHY_AFTER_MS = 10_000;

/**
 * Delay before retry number `attempt` (0 = the first), with full jitter: uniform in `[0, ceiling)`.
 * @param random value in `[0, 1)`
 * @returns whole ms
 */
export function backoffDelay(policy: BackoffPolicy, attempt: number, random: number): number {
  const baseMs = Math.max(MIN_CEILING_MS, policy.baseMs);
  const capMs = Math.max(MIN_CEILING_MS, policy.capMs);
  return Math.floor(random * Math.min(capMs, baseMs * 2 ** Math.min(attempt, 30)));
}
