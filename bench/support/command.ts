import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";

/** How a command went. */
export interface CommandRun {
  readonly tookMs: number;
  /** Its largest resident size, MB (Linux). */
  readonly peakMb: number;
}

const POLL_MS = 50;

/** Runs a command to its end. @throws {Error} with what it said when it ends with anything but 0 */
export async function runCommand(
  command: string,
  args: readonly string[],
  input = "",
): Promise<CommandRun> {
  const began = performance.now();
  const child = spawn(command, args);
  let said = "";
  let peakKb = 0;
  child.stdout.resume();
  child.stderr.on("data", (text) => {
    said += text;
  });
  child.stdin.end(input);
  const timer = setInterval(() => {
    try {
      const text = readFileSync(`/proc/${child.pid}/status`, "utf8");
      peakKb = Number(/VmHWM:\s+(\d+)/.exec(text)?.[1] ?? peakKb);
    } catch {
      // It has ended, or the system has no /proc.
    }
  }, POLL_MS);
  const [status] = (await once(child, "close")) as [number];
  clearInterval(timer);
  if (status !== 0) throw new Error(`${command} ended with ${status}:\n${said}`);
  return { tookMs: performance.now() - began, peakMb: peakKb / 1_024 };
}
