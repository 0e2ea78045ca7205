import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { type AddressInfo, createServer as createTcp, type Socket } from "node:net";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { deflateRawSync, gzipSync } from "node:zlib";
import { WebSocketServer } from "ws";

const MIB = 2 ** 20;
/** How far a bomb may drive the memory of the program; an answer of 8 MiB is held as bytes and as text before it is refused. */
const MOST_GROWN = { stream: 50 * MIB, rest: 100 * MIB };
const TIMES = 3;

interface Bombed {
  readonly reasons: readonly string[];
  readonly grownBytes: number;
}

/** The real client against this exchange, several times. */
async function bombed(t: TestContext, kind: "stream" | "rest", url: string): Promise<Bombed> {
  const script = join(import.meta.dirname, "security/bombed.ts");
  const args = [script, kind, url, String(TIMES)];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 30_000 });
  const result = JSON.parse(stdout) as Bombed;
  const grown = `memory grew by ${(result.grownBytes / MIB).toFixed(1)} MiB`;
  t.diagnostic(`${grown}; ${result.reasons[0]}`);
  assert.equal(result.reasons.length, TIMES);
  assert.ok(result.grownBytes < MOST_GROWN[kind], grown);
  return result;
}

/** A stream server that sends these bytes as soon as a client is there. */
async function hostileStream(t: TestContext, send: (tcp: Socket) => void): Promise<string> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
  await once(server, "listening");
  server.on("connection", (ws, request) => {
    ws.on("error", () => undefined);
    request.socket.on("error", () => undefined);
    // Believed first: what comes is a message of a connection that works.
    ws.once("message", (text) => {
      const { id } = JSON.parse(String(text)) as { id: number };
      ws.send(JSON.stringify({ result: null, id }), () => send(request.socket));
    });
  });
  t.after(() => {
    for (const client of server.clients) client.terminate();
    server.close();
  });
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function hostileRest(t: TestContext, answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Writes the same block so often, no faster than it is read. */
function pour(
  out: Pick<Socket, "write" | "destroyed" | "once">,
  block: Buffer,
  blocks: number,
): void {
  let left = blocks;
  const more = (): void => {
    while (left > 0 && !out.destroyed) {
      left -= 1;
      if (!out.write(block)) {
        out.once("drain", more);
        return;
      }
    }
  };
  more();
}

function frameHead(firstByte: number, length: number): Buffer {
  const head = Buffer.alloc(10);
  head[0] = firstByte;
  head[1] = 127;
  head.writeBigUInt64BE(BigInt(length), 2);
  return head;
}

describe("S14 memory bombs on the stream", () => {
  test("a frame of 100 MB", async (t) => {
    const url = await hostileStream(t, (tcp) => {
      tcp.write(frameHead(0x81, 100 * MIB));
      pour(tcp, Buffer.alloc(MIB, " "), 100);
    });
    const { reasons } = await bombed(t, "stream", url);
    for (const reason of reasons) assert.equal(reason, "frame larger than 1 MiB");
  });

  test("a million empty fragments of one message", async (t) => {
    const url = await hostileStream(t, (tcp) => {
      tcp.write(Buffer.from([0x01, 0x00]));
      pour(tcp, Buffer.alloc(20_000), 100);
    });
    const { reasons } = await bombed(t, "stream", url);
    for (const reason of reasons) assert.match(reason, /^broken frame: Too many message fragments/);
  });

  test("a small frame that would unpack to 100 MB", async (t) => {
    const packed = deflateRawSync(Buffer.alloc(100 * MIB, " "));
    assert.ok(packed.length < MIB);
    const url = await hostileStream(t, (tcp) => {
      // Compressed, though that was never agreed on.
      tcp.write(Buffer.concat([frameHead(0xc1, packed.length), packed]));
    });
    const { reasons } = await bombed(t, "stream", url);
    for (const reason of reasons) assert.match(reason, /^broken frame: .*RSV1/);
  });

  test("a handshake whose head never ends", async (t) => {
    const server = createTcp((tcp) => {
      tcp.on("error", () => undefined);
      tcp.write("HTTP/1.1 101 Switching Protocols\r\n");
      pour(tcp, Buffer.from(`x-a: ${"x".repeat(60_000)}\r\n`), 1_000);
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    await bombed(t, "stream", `ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  });
});

describe("S15 memory bombs by REST", () => {
  const tooLarge = /^E_SOURCE_BAD_ANSWER: .*more than 8 MiB/;

  test("a body without end", async (t) => {
    const url = await hostileRest(t, (_request, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      pour(response as unknown as Socket, Buffer.alloc(MIB, " "), 1_000);
    });
    for (const reason of (await bombed(t, "rest", url)).reasons) assert.match(reason, tooLarge);
  });

  test("a zip of 100 MB of nothing", async (t) => {
    const bomb = gzipSync(Buffer.alloc(100 * MIB, " "));
    assert.ok(bomb.length < MIB);
    const url = await hostileRest(t, (_request, response) => {
      response.writeHead(200, { "content-type": "application/json", "content-encoding": "gzip" });
      response.end(bomb);
    });
    for (const reason of (await bombed(t, "rest", url)).reasons) assert.match(reason, tooLarge);
  });

  test("an answer of nothing but brackets", async (t) => {
    const url = await hostileRest(t, (_request, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end("[".repeat(7 * MIB));
    });
    const { reasons } = await bombed(t, "rest", url);
    for (const reason of reasons) assert.match(reason, /^E_SOURCE_BAD_ANSWER: /);
  });

  test("an answer of millions of empty objects", async (t) => {
    const url = await hostileRest(t, (_request, response) => {
      response.end(`[${"{},".repeat(2.3 * MIB)}0]`);
    });
    const { reasons } = await bombed(t, "rest", url);
    for (const reason of reasons) assert.match(reason, /^E_SOURCE_BAD_ANSWER: /);
  });
});
