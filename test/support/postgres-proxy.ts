import { connect, createServer, type Socket } from "node:net";
import { parseDatabaseUrl } from "../../src/store/index.ts";

/** A TCP hop before a PostgreSQL server that can lose answers. */
export interface PostgresProxy {
  /** The server's URL by way of the proxy. */
  readonly url: string;
  /** From now on connections break as soon as the server has answered a COMMIT, before the client hears of it. */
  cutCommits(isCutting: boolean): void;
  /** From now on nothing goes through in either direction, and nothing is closed. */
  blackHole(isSwallowing: boolean): void;
  /** Breaks every connection. */
  cut(): void;
  close(): Promise<void>;
}

/** `Q`, length, text, zero: a simple query of the protocol. */
const COMMIT = Buffer.concat([Buffer.from("Q\0\0\0\x0b"), Buffer.from("commit\0")]);

/** Starts a proxy on a free port of 127.0.0.1. */
export async function startPostgresProxy(serverUrl: string): Promise<PostgresProxy> {
  const { host, port } = parseDatabaseUrl(serverUrl);
  const sockets = new Set<Socket>();
  let isCutting = false;
  let isSwallowing = false;
  const server = createServer((client) => {
    const upstream = host.startsWith("/")
      ? connect(`${host}/.s.PGSQL.${port}`)
      : connect(port, host);
    let isCommitting = false;
    const end = (): void => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", end);
      socket.on("close", () => {
        sockets.delete(socket);
        end();
      });
    }
    client.on("data", (bytes) => {
      if (isSwallowing) return;
      isCommitting = isCutting && bytes.includes(COMMIT);
      upstream.write(bytes);
    });
    upstream.on("data", (bytes) => {
      if (isSwallowing) return;
      if (isCommitting) end();
      else client.write(bytes);
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  const proxyPort = typeof address === "object" && address !== null ? address.port : 0;
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: throughPort(serverUrl, proxyPort),
    cutCommits: (value) => {
      isCutting = value;
    },
    blackHole: (value) => {
      isSwallowing = value;
    },
    cut,
    close: async () => {
      cut();
      await new Promise((done) => server.close(done));
    },
  };
}

function throughPort(url: string, port: number): string {
  const [, user = "", database = ""] = /^[a-z]+:\/\/([^@]*)@[^/]*\/([^?]*)/.exec(url) ?? [];
  return `postgresql://${user}@127.0.0.1:${port}/${database}`;
}
