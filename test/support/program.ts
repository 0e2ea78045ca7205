import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const BIN = fileURLToPath(new URL("../../bin/black-trade.js", import.meta.url));

/** Settings that point a program at an exchange: a simulator, or another program that serves as one. */
export function exchangeSettings({ url, wsUrl }: { readonly url: string; readonly wsUrl: string }) {
  return { BINANCE_REST_URL: url, BINANCE_WS_URL: wsUrl, BINANCE_ARCHIVE_URL: url };
}

/** What a finished program left. */
export interface Finished {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The real program as another process. */
export class Program {
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";
  readonly #ended: Promise<Finished>;

  /**
   * @param env added to a clean environment: none of the caller's settings reach the program
   * @param launcher a command that is given the program's own command line
   */
  constructor(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
    cwd = "/",
    launcher: readonly string[] = [],
  ) {
    const { PATH = "", HOME = "" } = process.env;
    const [command = process.execPath, ...rest] = [...launcher, process.execPath, BIN, ...args];
    this.child = spawn(command, rest, {
      cwd,
      env: { PATH, HOME, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    this.#ended = once(this.child, "close").then(([status, signal]) => ({
      status,
      signal,
      stdout: this.stdout,
      stderr: this.stderr,
    }));
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Resolves when the process has ended and all its output is read. */
  ended(): Promise<Finished> {
    return this.#ended;
  }

  /** Resolves when `pattern` is found in the output. @throws {Error} when the program ends first, or after `ms` */
  async says(pattern: RegExp, ms = 30_000): Promise<RegExpExecArray> {
    const deadline = Date.now() + ms;
    for (;;) {
      const match = pattern.exec(this.stdout) ?? pattern.exec(this.stderr);
      if (match !== null) return match;
      if (this.child.exitCode !== null || this.child.signalCode !== null || Date.now() > deadline) {
        throw new Error(`${pattern} was not said:\n${this.stdout}\n${this.stderr}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Runs the program to its end. */
export function runProgram(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd?: string,
): Promise<Finished> {
  return new Program(args, env, cwd).ended();
}

/** Runs a script as Node runs it for a user, to its end. */
export async function runNode(
  path: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Pick<Finished, "status" | "stdout" | "stderr">> {
  const { PATH = "", HOME = "" } = process.env;
  const child = spawn(process.execPath, [path], {
    cwd: "/",
    env: { PATH, HOME, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const texts = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      texts[name] += text;
    });
  }
  const [status] = (await once(child, "close")) as [number | null];
  return { status, ...texts };
}
