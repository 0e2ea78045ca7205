import type { Certificate } from "../core/certificate.ts";
import { BlackTradeError, messageOf } from "../core/errors.ts";
import type { JobOutcome, JobProgress, JobRequest, RunJob } from "../core/job.ts";
import type { TimeRange } from "../core/range.ts";
import { type Series, seriesKey } from "../core/series.ts";
import { HttpProblem } from "./problem.ts";

/** A job and what became of it. Times are epoch ms by the clock that the jobs were given. */
export interface Job {
  readonly id: string;
  readonly request: JobRequest;
  readonly state: "waiting" | "running" | "done" | "failed" | "cancelled";
  readonly createdTime: number;
  readonly startedTime?: number;
  readonly endedTime?: number;
  readonly progress?: JobProgress;
  readonly outcome?: JobOutcome;
  readonly problem?: { readonly code: string; readonly detail: string; readonly remedy: string };
}

/** What the last check said of a series. */
export interface CheckedSeries {
  readonly range: TimeRange;
  readonly checkedTime: number;
  readonly isClean: boolean;
  readonly rowCount: number;
  readonly confirmedShare: number;
  readonly findingCounts: Certificate["findingCounts"];
  readonly hash: string;
}

interface Entry {
  job: Job;
  readonly canceller: AbortController;
}

const MAX_WAITING = 8;
const MAX_KEPT = 50;

/** Jobs, one after the other: they share the exchange's budget and the database with ingestion. */
export class Jobs {
  readonly #run: RunJob;
  readonly #now: () => number;
  /** In the order in which they came. */
  readonly #entries = new Map<string, Entry>();
  readonly #certificates = new Map<string, CheckedSeries>();
  #count = 0;
  #working: Promise<void> | undefined;
  #isClosed = false;

  constructor(run: RunJob, now: () => number) {
    this.#run = run;
    this.#now = now;
  }

  /** All that are known, the newest first. */
  list(): readonly Job[] {
    return [...this.#entries.values()].map(({ job }) => job).reverse();
  }

  /** @throws {HttpProblem} 404 */
  get(id: string): Job {
    return this.#entryOf(id).job;
  }

  /** @throws {HttpProblem} 429 when too many wait */
  start(request: JobRequest): Job {
    const waiting = this.list().filter(({ state }) => state === "waiting").length;
    if (waiting >= MAX_WAITING || this.#isClosed) {
      throw new HttpProblem("E_HTTP_BUSY", `${waiting} jobs wait already`, {
        status: 429,
        headers: { "retry-after": "30" },
        remedy: "Wait until one has ended, or cancel one: DELETE /api/v1/jobs/{id}.",
      });
    }
    this.#count += 1;
    const id = String(this.#count);
    const job: Job = { id, request, state: "waiting", createdTime: this.#now() };
    this.#entries.set(id, { job, canceller: new AbortController() });
    this.#forget();
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
    });
    return job;
  }

  /** Ends a job; what it has stored stays. One that has ended already stays as it is. @throws {HttpProblem} 404 */
  cancel(id: string): Job {
    const entry = this.#entryOf(id);
    entry.canceller.abort();
    if (entry.job.state === "waiting") {
      entry.job = { ...entry.job, state: "cancelled", endedTime: this.#now() };
    }
    return entry.job;
  }

  /** What the last check said of a series. */
  certificateOf(series: Series): CheckedSeries | undefined {
    return this.#certificates.get(seriesKey(series));
  }

  /** Cancels everything and waits for what is running. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const id of this.#entries.keys()) this.cancel(id);
    await this.#working;
  }

  #entryOf(id: string): Entry {
    const entry = this.#entries.get(id);
    if (entry !== undefined) return entry;
    throw new HttpProblem(
      "E_HTTP_NOT_FOUND",
      `there is no job ${JSON.stringify(id.slice(0, 40))}`,
      {
        remedy: `See /api/v1/jobs; the last ${MAX_KEPT} are known until the program ends.`,
      },
    );
  }

  #forget(): void {
    for (const [id, { job }] of this.#entries) {
      if (this.#entries.size <= MAX_KEPT) return;
      if (job.endedTime !== undefined) this.#entries.delete(id);
    }
  }

  async #work(): Promise<void> {
    for (;;) {
      const entry = [...this.#entries.values()].find(({ job }) => job.state === "waiting");
      if (entry === undefined) return;
      await this.#do(entry);
    }
  }

  async #do(entry: Entry): Promise<void> {
    const { signal } = entry.canceller;
    entry.job = { ...entry.job, state: "running", startedTime: this.#now() };
    const end = (state: Job["state"], more: Partial<Job>): void => {
      entry.job = { ...entry.job, ...more, state, endedTime: this.#now() };
    };
    try {
      const outcome = await this.#run(entry.job.request, signal, (progress) => {
        entry.job = { ...entry.job, progress };
      });
      end("done", { outcome });
      this.#keepCertificates(outcome.certificates);
    } catch (error) {
      if (signal.aborted) end("cancelled", {});
      else end("failed", { problem: problemOf(error) });
    }
  }

  #keepCertificates(certificates: readonly Certificate[]): void {
    for (const one of certificates) {
      const { range, isClean, rowCount, confirmedShare, findingCounts, hash } = one;
      this.#certificates.set(seriesKey(one.series), {
        ...{ range, isClean, rowCount, confirmedShare, findingCounts, hash },
        checkedTime: this.#now(),
      });
    }
  }
}

function problemOf(error: unknown): NonNullable<Job["problem"]> {
  if (error instanceof BlackTradeError) {
    return { code: error.code, detail: error.message, remedy: error.remedy };
  }
  return {
    code: "E_DB_FAILED",
    detail: messageOf(error),
    remedy: "Report it with the lines of the log.",
  };
}
