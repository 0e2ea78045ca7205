import { randomUUID } from "node:crypto";
import { type FileHandle, open, unlink } from "node:fs/promises";
import { join } from "node:path";
import { BlackTradeError, messageOf } from "../../core/errors.ts";
import { makeFolder } from "../../make-folder.ts";

/**
 * A file that only this process knows. Its name is taken away as soon as it is open, where the system allows that, so that
 * nothing is left behind however the process ends; else when it is closed.
 */
export class TempFile {
  readonly #file: FileHandle;
  readonly #path: string;
  #isNamed: boolean;
  #size = 0;
  #closing: Promise<void> | undefined;

  private constructor(file: FileHandle, path: string, isNamed: boolean) {
    this.#file = file;
    this.#path = path;
    this.#isNamed = isNamed;
  }

  /** @throws {BlackTradeError} E_CONFIG when the folder cannot be written to */
  static async create(folder: string): Promise<TempFile> {
    const path = join(folder, `black-trade-${randomUUID()}.part`);
    try {
      await makeFolder(folder, 0o700);
      const file = await open(path, "wx+", 0o600);
      return new TempFile(file, path, !(await isUnlinked(path)));
    } catch (error) {
      throw unusable(error, folder);
    }
  }

  get size(): number {
    return this.#size;
  }

  /** Adds bytes at the end. @throws {BlackTradeError} E_CONFIG, e.g. when the disk is full */
  async append(bytes: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < bytes.byteLength; ) {
        const left = bytes.subarray(done);
        const { bytesWritten } = await this.#file.write(left, 0, left.byteLength, this.#size);
        done += bytesWritten;
        this.#size += bytesWritten;
      }
    } catch (error) {
      throw unusable(error, this.#path);
    }
  }

  /** Begins anew. */
  async clear(): Promise<void> {
    await this.#file.truncate(0);
    this.#size = 0;
  }

  /** Bytes at a place; fewer than `length` only at the end. */
  async readAt(offset: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(length, this.#size - offset)));
    let done = 0;
    while (done < bytes.length) {
      const { bytesRead } = await this.#file.read(bytes, done, bytes.length - done, offset + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return bytes.subarray(0, done);
  }

  /** Closes and deletes it. May be called again. */
  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  async #end(): Promise<void> {
    await this.#file.close().catch(() => undefined);
    if (this.#isNamed) this.#isNamed = !(await isUnlinked(this.#path));
  }
}

async function isUnlinked(path: string): Promise<boolean> {
  return await unlink(path).then(
    () => true,
    () => false,
  );
}

function unusable(error: unknown, path: string): BlackTradeError {
  return new BlackTradeError("E_CONFIG", `cannot write to ${path}: ${messageOf(error)}`, {
    remedy: "Make room there and check its rights, or set DATA_DIR to another folder.",
    cause: error,
  });
}
