import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

/** A request as a scripted server saw it. */
export interface SeenRequest {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
}

/** What a scripted server answers: parts of an answer, or a function that does as it likes with the response. */
export type Answer =
  | {
      readonly status?: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: unknown;
    }
  | ((response: ServerResponse) => void);

/** An HTTP server on loopback that answers as a test says. */
export interface ScriptedHttp {
  readonly url: string;
  readonly port: number;
  readonly seen: readonly SeenRequest[];
}

/**
 * Starts a server that ends with the test.
 * @param script answer to the n-th request, counted from 0; a body that is no text is sent as JSON
 */
export async function scriptedHttp(
  t: TestContext,
  script: (request: SeenRequest, index: number) => Answer | Promise<Answer>,
): Promise<ScriptedHttp> {
  const seen: SeenRequest[] = [];
  const server = createServer((incoming, response) => {
    // It would be this machine's clock's; the time of a script is another.
    response.sendDate = false;
    const url = new URL(incoming.url ?? "/", "http://loopback");
    const request = { path: url.pathname, query: url.searchParams, headers: incoming.headers };
    seen.push(request);
    void answer(request, seen.length - 1, response);
  });
  async function answer(request: SeenRequest, index: number, response: ServerResponse) {
    const said = await script(request, index);
    if (typeof said === "function") return said(response);
    const { status = 200, headers = {}, body = "" } = said;
    response.writeHead(status, { "content-type": "application/json;charset=UTF-8", ...headers });
    response.end(typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body));
  }
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, port, seen };
}
