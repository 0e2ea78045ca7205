import { BlackTradeError } from "./errors.ts";

/** What a fault of the file system means: what is wrong, and, where there is more to say, what to do. */
export interface FileFault {
  readonly what: string;
  readonly remedy?: string;
}

type Saying = (place: string, call: string) => FileFault;

const NO_FOLDER: Saying = (place) => ({
  what: `${place} is not a folder`,
  remedy: "name another one",
});
const NO_RIGHT: Saying = (place) => ({
  what: "there is no right to it",
  remedy: `give this user the right to read and write in ${place}`,
});

/** By code of errno. */
const FAULTS: Readonly<Record<string, Saying>> = {
  ENOSPC: () => ({ what: "the disk is full", remedy: "make room" }),
  EDQUOT: () => ({ what: "the disk quota is used up", remedy: "make room" }),
  EFBIG: () => ({
    what: "the file cannot be larger on this disk, or by this user's limit (ulimit -f)",
  }),
  EACCES: NO_RIGHT,
  EPERM: NO_RIGHT,
  EROFS: () => ({ what: "the disk is read-only" }),
  ENOTDIR: NO_FOLDER,
  EEXIST: (place, call) =>
    call === "mkdir"
      ? NO_FOLDER(place, call)
      : { what: "something of that name is there", remedy: "remove it, or name another place" },
  EISDIR: (place) => ({ what: `${place} is a folder`, remedy: "name a file" }),
  ENOENT: (_place, call) => ({
    what: `there is no such file or folder${call === "mkdir" ? ", and it cannot be made" : ""}`,
  }),
  EMFILE: () => ({ what: "too many files are open", remedy: "raise the limit (ulimit -n)" }),
  ENFILE: () => ({ what: "too many files are open on this machine", remedy: "close some" }),
  ENAMETOOLONG: () => ({ what: "the name is too long for this disk", remedy: "shorten it" }),
  EIO: () => ({ what: "the disk failed", remedy: "look into the system's messages (dmesg)" }),
};

/** What a system call of a socket or a process fails with says nothing about files. */
const NO_FILE_CALL =
  /^(accept|bind|connect|getaddrinfo|kill|listen|query|set[gu]id|setpriority|spawn|uv_)/;

/**
 * What a thrown error says about the file system, in plain words.
 * @param place what the user has to look at: a path, or the setting that names it
 * @returns undefined for what is no fault of the file system
 */
export function fileFault(error: unknown, place: string): FileFault | undefined {
  if (!(error instanceof Error) || !("code" in error) || !("syscall" in error)) return undefined;
  const call = String(error.syscall);
  if (NO_FILE_CALL.test(call)) return undefined;
  return Object.hasOwn(FAULTS, String(error.code))
    ? FAULTS[String(error.code)]?.(place, call)
    : undefined;
}

/**
 * The same as an error for the user.
 * @param path of the file that was meant; that of the error when not given
 */
export function fileError(error: unknown, path?: string): BlackTradeError | undefined {
  const place = path ?? pathOf(error) ?? "the place that is written to";
  const fault = fileFault(error, place);
  if (fault === undefined) return undefined;
  const { what, remedy = "mend that, or name another place" } = fault;
  const message = what.startsWith(place) ? what : `${place}: ${what}`;
  return new BlackTradeError("E_FILE", message, { remedy, cause: error });
}

/** The file or folder that the system's refusal was about, where the error tells it. */
export function pathOf(error: unknown): string | undefined {
  return error instanceof Error && "path" in error && typeof error.path === "string"
    ? error.path
    : undefined;
}
