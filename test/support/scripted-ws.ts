import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { type WebSocket, WebSocketServer } from "ws";

/** A control message as a scripted server saw it. */
export interface SeenControl {
  readonly method: string;
  readonly params: readonly string[];
  readonly id: number;
  /** When it came, real ms. */
  readonly atMs: number;
}

/** One client's connection, seen from the server. */
export interface Peer {
  readonly index: number;
  readonly socket: WebSocket;
  readonly request: IncomingMessage;
  readonly controls: readonly SeenControl[];
  /** When pongs came, real ms. */
  readonly pongsMs: readonly number[];
  /** Streams subscribed and not unsubscribed. */
  readonly streams: ReadonlySet<string>;
  /** Resolves with the close code that the server saw. */
  readonly closed: Promise<number>;
  send(frame: unknown): void;
}

/** What a scripted server does; each part has a default that behaves. */
export interface WsScript {
  /** Refuses an upgrade with this answer, or lets it pass with `undefined`. */
  readonly refuse?: (
    index: number,
  ) => { status: number; headers?: Record<string, string>; body?: string } | undefined;
  /** Called when a connection is open. */
  readonly onOpen?: (peer: Peer) => void;
  /** Answers a control message; acknowledges it unless told otherwise. */
  readonly onControl?: (peer: Peer, control: SeenControl) => void;
}

/** A WebSocket server on loopback that does as a test says. */
export interface ScriptedWs {
  readonly url: string;
  readonly peers: readonly Peer[];
  /** When upgrades were asked for, refused ones included; real ms. */
  readonly upgradesMs: readonly number[];
  /** Resolves with the n-th connection, counted from 0. */
  peer(index: number): Promise<Peer>;
}

/** Sends the acknowledgement of a control message. */
export function acknowledge(peer: Peer, { id }: SeenControl): void {
  peer.send({ result: null, id });
}

/** Starts a server that ends with the test. */
export async function scriptedWs(t: TestContext, script: WsScript = {}): Promise<ScriptedWs> {
  const peers: Peer[] = [];
  const upgradesMs: number[] = [];
  const waiting: (() => void)[] = [];
  const server = createServer();
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: true });

  server.on("upgrade", (request, socket, head) => {
    upgradesMs.push(performance.now());
    const refusal = script.refuse?.(upgradesMs.length - 1);
    if (refusal !== undefined) {
      const { status, headers = {}, body = "" } = refusal;
      const lines = Object.entries({ "content-length": body.length, ...headers });
      const text = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
      socket.end(`HTTP/1.1 ${status} No\r\nconnection: close\r\n${text}\r\n${body}`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (client) => accept(client, request));
  });

  function accept(socket: WebSocket, request: IncomingMessage): void {
    const controls: SeenControl[] = [];
    const pongsMs: number[] = [];
    const streams = new Set<string>();
    const peer: Peer = {
      index: peers.length,
      socket,
      request,
      controls,
      pongsMs,
      streams,
      closed: new Promise((resolve) => socket.on("close", resolve)),
      send: (frame) => socket.send(typeof frame === "string" ? frame : JSON.stringify(frame)),
    };
    socket.on("error", () => undefined);
    socket.on("pong", () => pongsMs.push(performance.now()));
    socket.on("message", (data) => {
      const control: SeenControl = { ...JSON.parse(String(data)), atMs: performance.now() };
      controls.push(control);
      for (const stream of control.params) {
        if (control.method === "SUBSCRIBE") streams.add(stream);
        else streams.delete(stream);
      }
      (script.onControl ?? acknowledge)(peer, control);
    });
    peers.push(peer);
    script.onOpen?.(peer);
    for (const wake of waiting.splice(0)) wake();
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const { socket } of peers) socket.terminate();
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `ws://127.0.0.1:${port}`,
    peers,
    upgradesMs,
    peer: async (index) => {
      for (;;) {
        const peer = peers[index];
        if (peer !== undefined) return peer;
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
    },
  };
}
