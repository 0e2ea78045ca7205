import assert from "node:assert/strict";
import { once } from "node:events";
import { type IncomingHttpHeaders, request } from "node:http";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { WebSocket } from "ws";
import { systemClock } from "../src/clock.ts";
import { Database } from "../src/store/index.ts";
import { type ApiStack, startApi, TOKEN } from "./support/api-stack.ts";
import { virtualClock } from "./support/clocks.ts";
import { createTestDatabase, sharedServer, type TestDatabase } from "./support/postgres.ts";
import { runProgram } from "./support/program.ts";

const READS = [
  "/metrics",
  "/readyz",
  "/openapi.json",
  "/api/v1/series",
  "/api/v1/candles?symbol=BTCUSDT&timeframe=1m",
  "/api/v1/events",
  "/api/v1/jobs",
  "/",
  "/nothing",
  "/x/../api/v1/series",
  "/%2e%2e/api/v1/series",
  "//api/v1/series",
  "/api/v1/candles?x=%zz",
  "/%zz",
];

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A request as it is written, without what `fetch` mends or forbids. */
function ask(
  { url }: ApiStack,
  path: string,
  headers: Readonly<Record<string, string>> = {},
  method = "GET",
  body = "",
): Promise<Answer> {
  const { port } = new URL(url);
  return new Promise((resolve, reject) => {
    const sent = request({ host: "127.0.0.1", port, path, method, headers }, (response) => {
      let text = "";
      const answer = (): void =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text });
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part;
        // An endless stream has answered with its first event.
        if (response.headers["content-type"]?.startsWith("text/event-stream")) {
          sent.destroy();
          answer();
        }
      });
      response.on("end", answer);
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

describe("security of HTTP", () => {
  let database: TestDatabase;
  let open: ApiStack;
  let guarded: ApiStack;
  const clock = virtualClock();

  before(async () => {
    database = await createTestDatabase(await sharedServer(), "migrated");
    open = await startApi(database.url, { allowedOrigins: ["https://charts.example.com"] });
    guarded = await startApi(database.url, {
      token: TOKEN,
      allowedHosts: ["candles.example.com"],
      // Only the count of wrong tokens goes by this one.
      clock: { ...systemClock, monotonic: () => clock.monotonic() },
    });
  });

  after(async () => {
    await open.close();
    await guarded.close();
    await database.drop();
  });

  describe("S1 who can reach it", () => {
    for (const command of ["serve", "ingest"]) {
      test(`${command}: another address than this machine's own needs a token`, async () => {
        const env = { DATABASE_URL: database.url, HTTP_HOST: "0.0.0.0" };
        const { status, stderr } = await runProgram([command], env);
        assert.equal(status, 2, stderr);
        assert.match(stderr, /E_CONFIG/);
        assert.match(stderr, /set API_TOKEN/);
      });
    }
  });

  describe("S2 DNS rebinding", () => {
    test("a foreign host name is turned away on every path, also with a token", async () => {
      for (const path of READS) {
        for (const host of ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example"]) {
          assert.equal((await ask(open, path, { host })).status, 421, `${path} ${host}`);
          const headers = { host, authorization: `Bearer ${TOKEN}` };
          assert.equal((await ask(guarded, path, headers)).status, 421, `${path} ${host}`);
        }
      }
    });

    test("own names and those of the proxy are heard, with any port, in any case", async () => {
      for (const host of ["localhost", "127.0.0.1:1", "[::1]:9090", "LOCALHOST"]) {
        assert.equal((await ask(open, "/livez", { host })).status, 200, host);
      }
      assert.equal((await ask(guarded, "/livez", { host: "Candles.example.com:443" })).status, 200);
      assert.equal((await ask(open, "/livez", { host: "candles.example.com" })).status, 421);
    });

    test("a WebSocket is refused before its path is looked at", async () => {
      for (const [headers, status] of [
        [{ host: "evil.example" }, 421],
        [{ origin: "https://evil.example" }, 403],
        [{ origin: "null" }, 403],
      ] as const) {
        assert.equal(await refusalOf(`${open.url}/ws`, headers), status);
      }
      assert.equal(await refusalOf(`${open.url}/no-such-path`, {}), 404);
      assert.equal(await refusalOf(`${guarded.url}/ws`, {}), 401);
    });
  });

  describe("S3, S4 pages of other sites", () => {
    const job = JSON.stringify({ kind: "verify" });
    const authorized = { authorization: `Bearer ${TOKEN}` };

    test("a form of another site starts nothing, even with the token", async () => {
      const json = { "content-type": "application/json", ...authorized };
      for (const headers of [
        { ...json, origin: "https://evil.example" },
        { ...json, origin: "null" },
        { ...json, "sec-fetch-site": "cross-site" },
        { ...json, "sec-fetch-site": "same-site" },
        { ...json, origin: "http://127.0.0.1:1" },
      ]) {
        const answer = await ask(guarded, "/api/v1/jobs", headers, "POST", job);
        assert.equal(answer.status, 403, JSON.stringify(headers));
      }
      for (const type of [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
      ]) {
        const headers = { "content-type": type, ...authorized };
        assert.equal((await ask(guarded, "/api/v1/jobs", headers, "POST", job)).status, 415, type);
      }
      const own = { ...json, origin: guarded.url, "sec-fetch-site": "same-origin" };
      assert.equal((await ask(guarded, "/api/v1/jobs", own, "POST", job)).status, 202);
    });

    test("jobs need a token also where none is set", async () => {
      const headers = { "content-type": "application/json" };
      const answer = await ask(open, "/api/v1/jobs", headers, "POST", job);
      assert.equal(answer.status, 403);
      assert.match(answer.body, /Set API_TOKEN/);
      assert.equal((await ask(open, "/api/v1/jobs/1", {}, "DELETE")).status, 403);
      assert.equal((await ask(open, "/api/v1/jobs")).status, 403);
    });

    test("no other origin may read; one that is named may, and may not write", async () => {
      const named = "https://charts.example.com";
      for (const path of READS.filter((one) => one.startsWith("/api"))) {
        for (const method of ["GET", "OPTIONS"]) {
          const foreign = await ask(open, path, { origin: "https://evil.example" }, method);
          assert.equal(foreign.status, 403, `${method} ${path}`);
          assert.equal(foreign.headers["access-control-allow-origin"], undefined);
        }
      }
      const read = await ask(open, "/api/v1/series", {
        origin: named,
        "sec-fetch-site": "cross-site",
      });
      assert.equal(read.status, 200);
      assert.equal(read.headers["access-control-allow-origin"], named);
      assert.match(String(read.headers.vary), /origin/);
      const asked = await ask(open, "/api/v1/series", { origin: named }, "OPTIONS");
      assert.equal(asked.status, 204);
      assert.equal(asked.headers["access-control-allow-methods"], "GET, HEAD");
      for (const method of ["POST", "DELETE", "PUT"]) {
        assert.equal((await ask(open, "/api/v1/jobs", { origin: named }, method)).status, 403);
      }
    });

    test("a link from another site opens a page, an image or script of it does not", async () => {
      const site = { "sec-fetch-site": "cross-site" };
      const navigation = { ...site, "sec-fetch-mode": "navigate" };
      assert.equal((await ask(open, "/api/v1/series", navigation)).status, 200);
      assert.equal(
        (await ask(open, "/api/v1/series", { ...site, "sec-fetch-mode": "no-cors" })).status,
        403,
      );
    });
  });

  describe("S5 headers", () => {
    test("every answer forbids sniffing, framing and being part of other sites", async () => {
      for (const path of [...READS, "/livez"]) {
        const { headers } = await ask(open, path);
        assert.equal(headers["x-content-type-options"], "nosniff", path);
        assert.match(String(headers["content-security-policy"]), /frame-ancestors 'none'/, path);
        assert.equal(headers["cross-origin-resource-policy"], "same-origin", path);
        assert.equal(headers["referrer-policy"], "no-referrer", path);
      }
    });
  });

  describe("S6, S7 the token", () => {
    test("everything but /livez, the description and the page without data demands it", async () => {
      for (const path of READS.filter((one) => !/^\/(?:openapi\.json|%zz|)$/.test(one))) {
        assert.equal((await ask(guarded, path)).status, 401, path);
      }
      for (const header of [
        { authorization: `Bearer ${TOKEN}` },
        { authorization: `bearer ${TOKEN}` },
        { "x-mbx-apikey": TOKEN },
      ]) {
        assert.equal((await ask(guarded, "/metrics", header)).status, 200);
      }
    });

    test("it is not taken from a URL, nor in another form", async () => {
      for (const [path, headers] of [
        [`/metrics?token=${TOKEN}`, {}],
        [`/metrics?api_token=${TOKEN}&authorization=Bearer%20${TOKEN}`, {}],
        ["/metrics", { cookie: `token=${TOKEN}` }],
      ] as const) {
        assert.equal((await ask(guarded, path, headers)).status, 401, path);
      }
      await clock.advance(60_000);
      for (const authorization of [
        `Basic ${TOKEN}`,
        TOKEN,
        "Bearer ",
        `Bearer ${TOKEN}x`,
        "Bearer",
      ]) {
        assert.equal(
          (await ask(guarded, "/metrics", { authorization })).status,
          401,
          authorization,
        );
      }
    });

    test("ten wrong ones in a minute, and the address waits", async () => {
      await clock.advance(60_000);
      const statuses: number[] = [];
      for (let tries = 0; tries < 15; tries += 1) {
        const answer = await ask(guarded, "/metrics", { authorization: `Bearer wrong-${tries}` });
        statuses.push(answer.status);
        if (answer.status === 429) assert.ok(Number(answer.headers["retry-after"]) > 0);
      }
      assert.deepEqual(statuses, [...Array(10).fill(401), ...Array(5).fill(429)]);
      // The right one has to wait, too: else the guesses would go on.
      const right = { authorization: `Bearer ${TOKEN}` };
      assert.equal((await ask(guarded, "/metrics", right)).status, 429);
      await clock.advance(60_000);
      assert.equal((await ask(guarded, "/metrics", right)).status, 200);
    });

    test("S11 no answer repeats a secret", async () => {
      const [, password = ""] = /:([^:@]+)@/.exec(database.url) ?? [];
      assert.notEqual(password, "");
      for (const path of READS) {
        for (const stack of [open, guarded]) {
          const headers = { authorization: `Bearer ${TOKEN}`, "x-mbx-apikey": TOKEN };
          const { body, headers: answered } = await ask(stack, path, headers);
          assert.ok(!`${body}${JSON.stringify(answered)}`.includes(TOKEN), path);
          assert.ok(!body.includes(password), path);
        }
      }
    });
  });

  test("a request is answered once, also when its body turns out to be none", async () => {
    const { port } = new URL(open.url);
    const said = async (bytes: string): Promise<string[]> => {
      const socket = connect(Number(port), "127.0.0.1");
      let text = "";
      socket.on("data", (part) => {
        text += part.toString();
      });
      socket.on("error", () => undefined);
      socket.write(bytes);
      // The server closes what it cannot read on; after the answer of a good request it waits for the next one.
      const timer = setTimeout(() => socket.destroy(), 1_500);
      await once(socket, "close");
      clearTimeout(timer);
      return [...text.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status = ""]) => status);
    };
    const foreign = "sec-fetch-site: cross-site\r\n";
    for (const coding of ["gzip", "identity", "chunkttps", "chunked, gzip"]) {
      for (const more of [
        "",
        foreign,
        "connection: close\r\n",
        `${foreign}connection: close\r\n`,
      ]) {
        for (const path of ["/livez", "/api/v1/series", "/nothing"]) {
          const head = `GET ${path} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: ${coding}\r\n${more}\r\n`;
          const statuses = await said(head);
          assert.ok(statuses.length <= 1, `${head}${statuses.join()}`);
        }
      }
    }
    const chunks = (body: string): string =>
      `POST /api/v1/jobs HTTP/1.1\r\nhost: localhost\r\n${foreign}transfer-encoding: chunked\r\n\r\n${body}`;
    for (const body of ["zz\r\n", "2\r\n{}x", "-1\r\n", "0\r\nbad"]) {
      const statuses = await said(chunks(body));
      assert.equal(statuses.length, 1, `${body}: ${statuses.join()}`);
    }
    const good = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert.deepEqual(await said(good), ["200"]);
    assert.deepEqual(await said("no HTTP\r\n\r\n"), ["400"]);
    // What is under way is answered as if nothing had come after it.
    assert.deepEqual(await said(`${good}no HTTP\r\n\r\n`), ["200"]);
  });

  describe("S8 what costs much", () => {
    test("a body of more than 64 KB and headers of more than 16 KB are refused", async () => {
      const headers = { "content-type": "application/json", authorization: `Bearer ${TOKEN}` };
      const body = JSON.stringify({ kind: "verify", symbols: ["x".repeat(70_000)] });
      assert.equal((await ask(guarded, "/api/v1/jobs", headers, "POST", body)).status, 413);
      assert.equal((await ask(open, "/livez", { "x-long": "x".repeat(20_000) })).status, 431);
    });

    test("whoever sends a byte at a time is cut off", async () => {
      const { port } = new URL(open.url);
      const began = performance.now();
      const socket = connect(Number(port), "127.0.0.1");
      socket.write("GET /livez HTTP/1.1\r\nhost: localhost\r\n");
      const drip = setInterval(() => socket.write("x: 1\r\n"), 200);
      socket.on("error", () => undefined);
      socket.resume();
      await once(socket, "close");
      clearInterval(drip);
      assert.ok(performance.now() - began < 9_000);
    });

    test("a query that takes long is ended by the server, and the connection stays good", async () => {
      const reader = new Database({
        url: database.url,
        isReadOnly: true,
        deadlineMs: 600,
        poolSize: 1,
      });
      try {
        reader.refuseWrites(false);
        const began = performance.now();
        await assert.rejects(reader.run({ text: "select pg_sleep(5)" }), { code: "E_DB_FAILED" });
        assert.ok(performance.now() - began < 2_000);
        const rows = await reader.run({ text: "select 1 as one" });
        assert.deepEqual(rows, [{ one: 1 }]);
        for (const isPooled of [false, true]) {
          reader.refuseWrites(isPooled);
          await assert.rejects(reader.run({ text: "create table t (a int)" }), /read-only/);
          await assert.rejects(
            reader.transaction((tx) => tx.run({ text: "create table t (a int)" })),
            /read-only/,
          );
        }
      } finally {
        await reader.close();
      }
    });

    test("many queries at once: a few run, some wait, the others are told to come back", async () => {
      const answers = await Promise.all(
        Array.from({ length: 200 }, () =>
          open.get("/api/v1/coverage?from=2020-01-01&to=2020-06-01"),
        ),
      );
      const statuses = new Set(answers.map(({ status }) => status));
      assert.deepEqual(
        [...statuses].filter((status) => status !== 200 && status !== 503),
        [],
      );
      const busy = answers.find(({ status }) => status === 503);
      if (busy !== undefined) assert.equal(busy.headers.get("retry-after"), "2");
      assert.equal((await open.get("/api/v1/series")).status, 200);
    });

    test("whatever a query holds, the answer is a document and never a fault of the program", async () => {
      const names = [
        "symbol",
        "timeframe",
        "from",
        "to",
        "limit",
        "cursor",
        "format",
        "series",
        "kinds",
      ];
      const paths = [
        "candles",
        "gaps",
        "coverage",
        "revisions",
        "verification",
        "__proto__",
        "../jobs",
      ];
      const text = fc.oneof(
        fc.string({ unit: "binary", maxLength: 40 }),
        fc.constantFrom(
          "BTCUSDT",
          "1m",
          "0",
          "-1",
          "9".repeat(400),
          "\0",
          "' or 1=1--",
          "__proto__",
        ),
      );
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom(...paths),
          fc.array(fc.tuple(fc.oneof(fc.constantFrom(...names), text), text), { maxLength: 5 }),
          async (path, pairs) => {
            const query = new URLSearchParams(
              pairs.map(([name, value]): [string, string] => [name, value.toWellFormed()]),
            );
            const response = await open.get(`/api/v1/${path}?${query}`);
            assert.ok([200, 400, 403, 404, 414].includes(response.status), String(response.status));
            await response.json();
          },
        ),
        { numRuns: 200 },
      );
    });
  });
});

/** HTTP status with which a WebSocket is refused. */
async function refusalOf(url: string, headers: Record<string, string>): Promise<number> {
  const socket = new WebSocket(url.replace("http", "ws"), { headers });
  return new Promise((resolve, reject) => {
    socket.on("unexpected-response", (_request, response) => {
      resolve(response.statusCode ?? 0);
      socket.terminate();
    });
    socket.on("open", () => reject(new Error("the WebSocket was opened")));
    socket.on("error", () => undefined);
  });
}
