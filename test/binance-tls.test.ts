import assert from "node:assert/strict";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { WeightBudget } from "../src/core/budget.ts";
import { BlackTradeError } from "../src/core/errors.ts";
import { ExchangeTime } from "../src/core/exchange-time.ts";
import { createBinanceRest } from "../src/exchanges/binance/index.ts";
import { coins, follow } from "./support/binance-follower.ts";
import { scaledClock, virtualClock } from "./support/clocks.ts";
import { selfSignedCertificate } from "./support/tls.ts";

const certificate = selfSignedCertificate();
const needsOpenssl = { skip: certificate === undefined ? "openssl is absent" : false };

/** A server that speaks TLS and could be anybody. @returns its host and what it was asked */
async function impostor(t: TestContext): Promise<{ host: string; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer({ ...certificate }, (request, response) => {
    asked.push(request.url ?? "");
    response.end("[]");
  });
  server.on("upgrade", (request) => asked.push(request.url ?? ""));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

const UNTRUSTED =
  /^certificate of 127\.0\.0\.1:\d+ is not trusted \(DEPTH_ZERO_SELF_SIGNED_CERT\)$/;

test("REST says nothing to a host whose certificate is not trusted", needsOpenssl, async (t) => {
  const { host, asked } = await impostor(t);
  const exchangeTime = new ExchangeTime();
  exchangeTime.observeRoundTrip(0, 0, Date.UTC(2026, 0, 1));
  const rest = createBinanceRest({
    baseUrl: `https://${host}`,
    clock: virtualClock(),
    exchangeTime,
    budget: new WeightBudget(6_000),
    random: () => 0,
    record: () => undefined,
    onHold: async () => undefined,
  });
  const [series] = coins(1);
  assert.ok(series);
  await assert.rejects(
    rest.firstOpenTime(series, new AbortController().signal),
    (error) =>
      error instanceof BlackTradeError &&
      error.code === "E_SOURCE_UNREACHABLE" &&
      UNTRUSTED.test(error.message),
  );
  assert.deepEqual(asked, []);
});

test(
  "the stream says nothing to such a host either, and does not knock again soon",
  needsOpenssl,
  async (t) => {
    const { host, asked } = await impostor(t);
    const follower = follow(t, coins(1), {
      wsUrl: `wss://${host}`,
      clock: scaledClock(20),
      connectTimeoutMs: 1e6,
    });
    const failed = await follower.record("connectFailed");
    assert.match(failed.reason, UNTRUSTED);
    assert.ok(failed.retryMs >= 60_000);
    assert.deepEqual(asked, []);
  },
);
