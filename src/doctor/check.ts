import { BlackTradeError, ERRORS, type ErrorCode, messageOf } from "../core/errors.ts";
import type { Clock } from "../core/ports.ts";

/** What a check found. */
export interface Verdict {
  /** `warn` = it works, and something should be mended; `skip` = could not be looked at, and `found` says why. */
  readonly status: "ok" | "warn" | "fail" | "skip";
  /** One line: what is. */
  readonly found: string;
  /** What to do about it. */
  readonly remedy?: string;
  /** The error that the program itself would end with. */
  readonly code?: ErrorCode;
}

/** One thing that is looked at. `Context` is what the checks hand on to one another. */
export interface Check<Context> {
  /** Its section in docs/TROUBLESHOOTING.md has this name. */
  readonly id: string;
  /** What is looked at, for people. */
  readonly title: string;
  /** Checks that must have ended without a failure; otherwise this one is skipped. */
  readonly needs?: readonly string[];
  /** Checks that must have ended, however. */
  readonly after?: readonly string[];
  readonly deadlineMs?: number;
  run(context: Context, signal: AbortSignal): Promise<Verdict> | Verdict;
}

/** A verdict with its check. */
export interface Finding extends Verdict {
  readonly id: string;
  readonly title: string;
  readonly tookMs: number;
}

const DEFAULT_DEADLINE_MS = 15_000;

/** How checks are run. */
export interface RunOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Instead of each check's own deadline. */
  readonly deadlineMs?: number;
  /** Told of every finding as it comes. */
  readonly onFinding?: (finding: Finding) => void;
}

/**
 * Runs checks, those at once that do not wait for one another. None can hang or throw: what does not answer by its
 * deadline has failed.
 * @returns in the order of `checks`
 */
export async function runChecks<Context>(
  checks: readonly Check<Context>[],
  context: Context,
  options: RunOptions,
): Promise<Finding[]> {
  const running = new Map<string, Promise<Finding>>();
  for (const check of checks) running.set(check.id, runOne(check, context, options, running));
  return Promise.all(running.values());
}

async function runOne<Context>(
  check: Check<Context>,
  context: Context,
  options: RunOptions,
  running: ReadonlyMap<string, Promise<Finding>>,
): Promise<Finding> {
  const { id, title, needs = [], after = [] } = check;
  const { clock, onFinding } = options;
  const awaited = (ids: readonly string[]) => Promise.all(ids.map((one) => running.get(one)));
  // Yields before looking: every check is in the map by then.
  await Promise.resolve();
  const needed = await awaited(needs);
  await awaited(after);
  const began = clock.monotonic();
  const obstacle = needed.find(
    (finding) => finding?.status === "fail" || finding?.status === "skip",
  );
  const verdict: Verdict =
    obstacle === undefined
      ? await withinDeadline(check, context, options)
      : { status: "skip", found: skipReason(obstacle) };
  const finding = { id, title, ...verdict, tookMs: Math.round(clock.monotonic() - began) };
  onFinding?.(finding);
  return finding;
}

function skipReason(obstacle: Finding): string {
  return obstacle.status === "fail" ? `first mend "${obstacle.id}"` : obstacle.found;
}

async function withinDeadline<Context>(
  { run, deadlineMs: own = DEFAULT_DEADLINE_MS }: Check<Context>,
  context: Context,
  { clock, signal, deadlineMs = own }: RunOptions,
): Promise<Verdict> {
  const ended = new AbortController();
  const late = new AbortController();
  const all = AbortSignal.any([signal, late.signal]);
  const deadline = clock.sleep(deadlineMs, ended.signal).then(
    (): Verdict => {
      late.abort();
      return {
        status: "fail",
        found: `no answer within ${deadlineMs / 1_000} s`,
        remedy: "Look at the network, the load and the disk of what is asked here, then try again.",
      };
    },
    (): Verdict => ({ status: "skip", found: "stopped" }),
  );
  const onAbort = (): void => ended.abort();
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    const work = Promise.resolve()
      .then(() => run(context, all))
      .catch(verdictOf);
    return await Promise.race([work, deadline]);
  } finally {
    signal.removeEventListener("abort", onAbort);
    ended.abort();
  }
}

/** The verdict for what was thrown: the program's own errors bring their remedy along. */
export function verdictOf(error: unknown): Verdict {
  if (error instanceof BlackTradeError) {
    return { status: "fail", found: error.message, remedy: error.remedy, code: error.code };
  }
  return {
    status: "fail",
    found: `the check itself failed: ${messageOf(error)}`,
    remedy: "Report this line: it should not happen.",
  };
}

/**
 * Exit status for a set of findings (design §6): 4 when database or exchange cannot be used, 1 for anything else that has
 * failed, 3 when there are only warnings, 0 when nothing has to be mended.
 */
export function exitStatusOf(findings: readonly Finding[]): 0 | 1 | 3 | 4 {
  const failed = findings.filter(({ status }) => status === "fail");
  if (failed.some(({ code }) => code !== undefined && ERRORS[code].exit === 4)) return 4;
  if (failed.length > 0) return 1;
  return findings.some(({ status }) => status === "warn") ? 3 : 0;
}
