import assert from "node:assert/strict";
import { test } from "node:test";
import { fileError, fileFault } from "./file-fault.ts";

function refusal(code: string, syscall: string, path?: string): Error {
  return Object.assign(new Error(`${code}: ${syscall}`), {
    code,
    syscall,
    ...(path === undefined ? {} : { path }),
  });
}

test("what the system refuses is said in plain words, by what was being done", () => {
  const says = (code: string, call: string): string | undefined =>
    fileFault(refusal(code, call), "there")?.what;
  assert.equal(says("ENOSPC", "write"), "the disk is full");
  assert.equal(says("EROFS", "mkdir"), "the disk is read-only");
  assert.equal(says("ENOENT", "open"), "there is no such file or folder");
  assert.equal(says("ENOENT", "mkdir"), "there is no such file or folder, and it cannot be made");
  assert.equal(says("EEXIST", "mkdir"), "there is not a folder");
  assert.equal(says("EEXIST", "link"), "something of that name is there");
});

test("what is no fault of the file system is not taken for one", () => {
  for (const call of ["connect", "spawn sh", "setuid", "setgid", "setpriority", "kill", "bind"]) {
    assert.equal(fileFault(refusal("EACCES", call), "there"), undefined, call);
  }
  assert.equal(fileFault(refusal("ECONNRESET", "read"), "there"), undefined);
  assert.equal(fileFault(new Error("ENOSPC"), "there"), undefined);
  assert.equal(fileFault("ENOSPC", "there"), undefined);
  assert.equal(fileFault(refusal("toString", "open"), "there"), undefined);
});

test("the user's line names the place, of the caller or of the error", () => {
  const full = refusal("ENOSPC", "write", "/data/x");
  assert.equal(fileError(full)?.message, "/data/x: the disk is full");
  assert.equal(fileError(full, "x.csv")?.message, "x.csv: the disk is full");
  assert.equal(fileError(refusal("ENOTDIR", "open"), "taken")?.message, "taken is not a folder");
  assert.equal(fileError(refusal("EPERM", "connect")), undefined);
});
