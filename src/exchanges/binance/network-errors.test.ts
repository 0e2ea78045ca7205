import assert from "node:assert/strict";
import { test } from "node:test";
import { nameNetworkFault } from "./network-errors.ts";

const withCode = (code: string): Error => Object.assign(new Error("said by the system"), { code });
/** As `fetch` wraps it. */
const wrapped = (cause: unknown): Error => new TypeError("fetch failed", { cause });

const CASES: readonly (readonly [string, string, "timeout" | "lasting" | undefined])[] = [
  ["ENOTFOUND", "cannot resolve host x.test (ENOTFOUND)", undefined],
  ["EAI_AGAIN", "cannot resolve host x.test (EAI_AGAIN)", undefined],
  ["ECONNREFUSED", "x.test refused the connection", undefined],
  ["ECONNRESET", "connection to x.test broke (ECONNRESET)", undefined],
  ["UND_ERR_SOCKET", "connection to x.test broke (UND_ERR_SOCKET)", undefined],
  ["ETIMEDOUT", "no connection to x.test in time (ETIMEDOUT)", "timeout"],
  [
    "UND_ERR_CONNECT_TIMEOUT",
    "no connection to x.test in time (UND_ERR_CONNECT_TIMEOUT)",
    "timeout",
  ],
  ["ENETUNREACH", "no route to x.test (ENETUNREACH)", undefined],
  ["EMFILE", "too many open files for a connection to x.test (EMFILE)", undefined],
  ["CERT_HAS_EXPIRED", "certificate of x.test is not trusted (CERT_HAS_EXPIRED)", "lasting"],
  [
    "ERR_TLS_CERT_ALTNAME_INVALID",
    "certificate of x.test is not trusted (ERR_TLS_CERT_ALTNAME_INVALID)",
    "lasting",
  ],
  [
    "SELF_SIGNED_CERT_IN_CHAIN",
    "certificate of x.test is not trusted (SELF_SIGNED_CERT_IN_CHAIN)",
    "lasting",
  ],
  [
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "certificate of x.test is not trusted (UNABLE_TO_VERIFY_LEAF_SIGNATURE)",
    "lasting",
  ],
  ["EPROTO", "no TLS connection to x.test (EPROTO)", "lasting"],
  [
    "ERR_SSL_WRONG_VERSION_NUMBER",
    "no TLS connection to x.test (ERR_SSL_WRONG_VERSION_NUMBER)",
    "lasting",
  ],
  ["ESOMETHING", "connection to x.test failed (ESOMETHING)", undefined],
];

test("what went wrong below HTTP has a name and a remedy, however deep it is wrapped", () => {
  for (const [code, reason, kind] of CASES) {
    const several = new AggregateError([withCode(code), withCode("ENETUNREACH")]);
    for (const error of [withCode(code), wrapped(withCode(code)), wrapped(several)]) {
      const fault = nameNetworkFault(error, "x.test");
      assert.equal(fault.reason, reason);
      assert.equal(fault.isTimeout, kind === "timeout");
      assert.equal(fault.isLasting, kind === "lasting");
      assert.match(fault.remedy, /\.$/);
    }
  }
});

test("what has no code keeps its own words; a chain without end does not hang", () => {
  assert.equal(
    nameNetworkFault(wrapped(new Error("bad port")), "x.test").reason,
    "connection to x.test failed: bad port",
  );
  assert.match(nameNetworkFault("nonsense", "x.test").reason, /failed: nonsense/);
  const circle = new Error("round");
  circle.cause = circle;
  assert.match(nameNetworkFault(circle, "x.test").reason, /connection to x\.test failed/);
});
