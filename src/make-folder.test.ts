import assert from "node:assert/strict";
import { chmod, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { makeFolder } from "./make-folder.ts";

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "black-trade-make-folder-"));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

test("a folder and those above it are made, once, several at once", async () => {
  await inFolder(async (folder) => {
    const deep = join(folder, "a", "b", "c");
    await Promise.all([makeFolder(deep, 0o700), makeFolder(deep, 0o700)]);
    await makeFolder(deep);
    assert.deepEqual(await readdir(join(folder, "a")), ["b"]);
    assert.equal((await stat(deep)).mode & 0o777, 0o700);
  });
});

test("a file in the way is said, and left alone", async () => {
  await inFolder(async (folder) => {
    const file = join(folder, "file");
    await writeFile(file, "mine");
    await assert.rejects(makeFolder(file), { code: "EEXIST", path: file });
    await assert.rejects(makeFolder(join(file, "a")), { code: "ENOTDIR" });
    assert.equal((await stat(file)).size, 4);
  });
});

test("a parent that may not be written in is named", {
  skip: process.getuid?.() === 0 && "root may write everywhere",
}, async () => {
  await inFolder(async (folder) => {
    await chmod(folder, 0o500);
    await assert.rejects(makeFolder(join(folder, "a", "b")), { code: "EACCES" });
  });
});

test("a parent in which nothing can be made ends it", {
  skip: process.platform !== "linux" && "there is no /proc",
}, async () => {
  await assert.rejects(makeFolder("/proc/black-trade/data"), { code: "ENOENT" });
});
