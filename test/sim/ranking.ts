import type { VersionedCandle } from "../../src/core/finality.ts";

/** The roads by authority, written down here a second time: a wrong table in the program must not cancel out. */
const RANKS = [
  ...["csv-partial", "csv", "archive-unproven", "rest-early", "stream"],
  ...["archive-monthly", "archive-daily", "rest"],
];

/** Positive when `a` has to win over `b`, negative when `b` has, 0 when only the values could tell. */
export function rank(a: VersionedCandle, b: VersionedCandle): number {
  const byRoad = RANKS.indexOf(a.source) - RANKS.indexOf(b.source);
  return byRoad === 0 ? a.observedTime - b.observedTime : byRoad;
}

/** True when an archive or settled REST vouches for the version. */
export function isConfirmed({ source }: VersionedCandle): boolean {
  return RANKS.indexOf(source) >= RANKS.indexOf("archive-monthly");
}
