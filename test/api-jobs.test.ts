import assert from "node:assert/strict";
import { test } from "node:test";
import { BlackTradeError } from "../src/core/errors.ts";
import type { JobOutcome, RunJob } from "../src/core/job.ts";
import type { Job } from "../src/serve/jobs.ts";
import { type ApiStack, startApi, TOKEN } from "./support/api-stack.ts";
import { withDatabase } from "./support/postgres.ts";

const DONE: JobOutcome = { isWhole: true, storedCount: 7, remarks: [], certificates: [] };

/** Jobs that end when the test says so. */
class Work {
  readonly begun: { kind: string; end: (outcome: JobOutcome | Error) => void }[] = [];
  readonly run: RunJob = (request, signal, onProgress) =>
    new Promise((resolve, reject) => {
      onProgress({ phase: "filling", doneCandles: 1, totalCandles: 2, storedCount: 1 });
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      const end = (outcome: JobOutcome | Error): void =>
        outcome instanceof Error ? reject(outcome) : resolve(outcome);
      this.begun.push({ kind: request.kind, end });
    });
}

async function withJobs(run: (api: ApiStack, work: Work) => Promise<void>): Promise<void> {
  await withDatabase(async ({ url }) => {
    const work = new Work();
    const api = await startApi(url, { token: TOKEN, runJob: work.run });
    try {
      await run(api, work);
    } finally {
      await api.close();
    }
  });
}

async function send(
  { url }: ApiStack,
  method: string,
  path: string,
  body?: unknown,
): Promise<{ status: number; job: Job; detail: string }> {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${TOKEN}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const document = (await response.json()) as { job: Job; detail: string };
  return { status: response.status, ...document };
}

const get = async (api: ApiStack, id: string): Promise<Job> =>
  (await send(api, "GET", `/api/v1/jobs/${id}`)).job;

async function until(api: ApiStack, id: string, state: Job["state"]): Promise<Job> {
  for (const deadline = Date.now() + 5_000; ; ) {
    const job = await get(api, id);
    if (job.state === state) return job;
    assert.ok(Date.now() < deadline, `${job.state}, not ${state}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("jobs run one after the other, with progress and outcome", () =>
  withJobs(async (api, work) => {
    const request = {
      kind: "backfill",
      symbols: ["BTCUSDT"],
      timeframes: ["1m"],
      from: "2026-01-01",
      to: 1_767_312_000_000,
    };
    const { status, job } = await send(api, "POST", "/api/v1/jobs", request);
    assert.equal(status, 202);
    assert.equal(job.request.from, Date.UTC(2026, 0, 1));
    const second = await send(api, "POST", "/api/v1/jobs", { kind: "verify" });
    const running = await until(api, job.id, "running");
    assert.deepEqual(running.progress?.doneCandles, 1);
    assert.equal((await get(api, second.job.id)).state, "waiting");
    work.begun[0]?.end(DONE);
    assert.deepEqual((await until(api, job.id, "done")).outcome, DONE);
    await until(api, second.job.id, "running");
    const failure = new BlackTradeError("E_SOURCE_BANNED", "banned", { remedy: "Wait." });
    work.begun[1]?.end(failure);
    const failed = await until(api, second.job.id, "failed");
    assert.deepEqual(failed.problem, {
      code: "E_SOURCE_BANNED",
      detail: "banned",
      remedy: "Wait.",
    });
    assert.deepEqual(
      work.begun.map(({ kind }) => kind),
      ["backfill", "verify"],
    );
  }));

test("a job can be cancelled while it waits and while it runs", () =>
  withJobs(async (api, work) => {
    const first = await send(api, "POST", "/api/v1/jobs", { kind: "fill" });
    const second = await send(api, "POST", "/api/v1/jobs", { kind: "fill" });
    const cancelled = await send(api, "DELETE", `/api/v1/jobs/${second.job.id}`);
    assert.equal(cancelled.job.state, "cancelled");
    await send(api, "DELETE", `/api/v1/jobs/${first.job.id}`);
    await until(api, first.job.id, "cancelled");
    assert.equal(work.begun.length, 1);
    assert.equal((await send(api, "DELETE", "/api/v1/jobs/99")).status, 404);
  }));

test("eight may wait, fifty are remembered", () =>
  withJobs(async (api, work) => {
    for (let count = 0; count < 9; count += 1) {
      assert.equal((await send(api, "POST", "/api/v1/jobs", { kind: "fill" })).status, 202);
    }
    assert.equal((await send(api, "POST", "/api/v1/jobs", { kind: "fill" })).status, 429);
    for (let id = 1; id <= 9; id += 1) {
      await until(api, String(id), "running");
      work.begun[id - 1]?.end(DONE);
      await until(api, String(id), "done");
    }
    for (let id = 10; id <= 60; id += 1) {
      await send(api, "POST", "/api/v1/jobs", { kind: "fill" });
      await until(api, String(id), "running");
      work.begun[id - 1]?.end(DONE);
      await until(api, String(id), "done");
    }
    const response = await api.get("/api/v1/jobs");
    const { jobs } = (await response.json()) as { jobs: Job[] };
    assert.equal(jobs.length, 50);
    assert.equal(jobs[0]?.id, "60");
  }));

test("what a job may be is checked", () =>
  withJobs(async (api, work) => {
    for (const [body, pattern] of [
      [{}, /kind/],
      [{ kind: "drop" }, /kind/],
      [{ kind: "fill", symbols: [] }, /symbols/],
      [{ kind: "fill", timeframes: ["7m"] }, /timeframes/],
      [{ kind: "fill", from: "soon" }, /from/],
      [{ kind: "fill", url: "http://evil.example" }, /url/],
      [[], /./],
      ["fill", /./],
    ] as const) {
      const { status, detail } = await send(api, "POST", "/api/v1/jobs", body);
      assert.equal(status, 400, JSON.stringify(body));
      assert.match(detail, pattern);
    }
    assert.equal(work.begun.length, 0);
  }));
