import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import type { Face } from "../parts.ts";

/** A file of the page, in memory. */
interface Asset {
  readonly type: string;
  readonly body: Buffer;
  readonly zipped: Buffer;
  readonly tag: string;
}

const PAGE = join(import.meta.dirname, "page");
const SCRIPTS = [
  ...[
    "main",
    "connection",
    "event-parser",
    "chart",
    "candle-store",
    "gap-bands",
    "heat-map",
    "series-table",
  ],
  ...["tiles", "metrics", "event-list", "format", "dom"],
];

/**
 * Where the page may load from and send to: this server alone. The chart sets styles by script, which a policy without
 * `unsafe-inline` allows; nothing may frame the page.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'none'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join("; ");

/**
 * The dashboard: `/`, and its files below `/dashboard/`. They hold no data, and a browser cannot send a token with a
 * navigation: the page is public and asks for the token itself. No path of a request is ever looked for on the disk.
 */
export const dashboard: Face = (server) => {
  for (const [path, asset] of readAssets()) {
    server.get(path, { config: { isPublic: true } }, (request, reply) => {
      reply
        .headers({
          "content-security-policy": POLICY,
          "cross-origin-opener-policy": "same-origin",
          "referrer-policy": "no-referrer",
          "x-content-type-options": "nosniff",
          // Asked for anew each time, answered by 304: a page never runs with a script of another version.
          "cache-control": "no-cache",
          etag: asset.tag,
          vary: "accept-encoding",
        })
        .type(asset.type);
      if (request.headers["if-none-match"] === asset.tag) return reply.code(304).send();
      const isZipped = /\bgzip\b/.test(request.headers["accept-encoding"] ?? "");
      if (isZipped) reply.header("content-encoding", "gzip");
      return reply.send(isZipped ? asset.zipped : asset.body);
    });
  }
};

/** Every file that is served, by its path. */
function readAssets(): Map<string, Asset> {
  const charts = join(
    dirname(fileURLToPath(import.meta.resolve("lightweight-charts"))),
    "lightweight-charts.standalone.production.mjs",
  );
  return new Map([
    ["/", asset("text/html; charset=utf-8", join(PAGE, "index.html"))],
    ["/dashboard/style.css", asset("text/css; charset=utf-8", join(PAGE, "style.css"))],
    ["/dashboard/icon.svg", asset("image/svg+xml", join(PAGE, "icon.svg"))],
    ["/dashboard/lightweight-charts.js", asset("text/javascript; charset=utf-8", charts)],
    ...SCRIPTS.map((name): [string, Asset] => [
      `/dashboard/${name}.js`,
      asset("text/javascript; charset=utf-8", join(PAGE, `${name}.js`)),
    ]),
  ]);
}

function asset(type: string, path: string): Asset {
  const body = readFileSync(path);
  const tag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
  return { type, body, zipped: gzipSync(body, { level: 9 }), tag };
}
