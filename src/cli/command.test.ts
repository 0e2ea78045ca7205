import assert from "node:assert/strict";
import { test } from "node:test";
import { type ExitStatus, untilStopped } from "./command.ts";

/** What a command says and ends with, when its work is this. */
async function outcomeOf(stays: string | undefined, work: (signal: AbortSignal) => Promise<void>) {
  const said: string[] = [];
  const ended: ExitStatus[] = [];
  await untilStopped(
    { note: (text) => said.push(text) },
    (status) => ended.push(status),
    stays,
    work,
  );
  return { said, ended };
}

const stopped = async (signal: AbortSignal): Promise<void> => {
  process.emit("SIGTERM", "SIGTERM");
  signal.throwIfAborted();
};

test("work that a signal stops says what stays, and ends with the status of the signal", async () => {
  assert.deepEqual(await outcomeOf("all of it stays", stopped), {
    said: ["stopped; all of it stays"],
    ended: [143],
  });
  assert.deepEqual(await outcomeOf(undefined, stopped), { said: [], ended: [143] });
});

test("work that ends by itself says its status itself, and what it throws goes on", async () => {
  const before = process.listenerCount("SIGTERM");
  assert.deepEqual(await outcomeOf("x", async () => undefined), { said: [], ended: [] });
  const failure = new Error("no database");
  await assert.rejects(
    outcomeOf("x", async () => Promise.reject(failure)),
    failure,
  );
  assert.equal(process.listenerCount("SIGTERM"), before);
});
