import { createHash } from "node:crypto";

/** SHA-256 of text that comes in pieces; its digest is in hexadecimal digits. */
export function createSha256(): { update(text: string): unknown; digest(): string } {
  const hash = createHash("sha256");
  return { update: (text) => hash.update(text), digest: () => hash.digest("hex") };
}
