/** Growth of a retry delay: the ceiling starts at `baseMs`, doubles with every attempt and stops at `capMs`. */
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
  const ceiling = Math.min(policy.capMs, policy.baseMs * 2 ** Math.min(attempt, 30));
  return Math.floor(random * ceiling);
}
