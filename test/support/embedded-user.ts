import { BlackTradeError } from "../../src/core/errors.ts";
import { type EmbeddedOptions, startEmbedded } from "../../src/store/index.ts";

/** Run as a process of its own: uses an embedded server until its input ends, and tells how it went in one line. */
const options = JSON.parse(process.argv[2] ?? "{}") as EmbeddedOptions;
try {
  const server = await startEmbedded(options);
  const { serverPid, wasStarted } = server;
  process.stdout.write(
    `${JSON.stringify({ serverPid, wasStarted, url: server.urlOf("postgres") })}\n`,
  );
  for await (const _chunk of process.stdin);
  await server.release();
} catch (error) {
  const code = error instanceof BlackTradeError ? error.code : "";
  process.stdout.write(`${JSON.stringify({ code, message: String(error) })}\n`);
  process.exitCode = 1;
}
