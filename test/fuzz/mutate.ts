import { between, pick, type Random } from "../sim/random.ts";

/** Texts and numbers that parsers stumble over. */
const NASTY = [
  ...["", "0", "-0", "-1", "1e999", "NaN", "Infinity", "0x10", "1e-400", "9007199254740993"],
  ...["99999999999999999999", "1795366119820", "1499040000000000", "-62135596800001", "1.7976e308"],
  ...["null", "true", "[]", "{}", '"', "\\", "\\u0000", "\u0000", "\uFEFF", "\uD800", "\u202E"],
  ...["__proto__", "constructor", '{"__proto__":{"x":1}}', "İ", "ß", "ﬀ", "İİİ", "💥".repeat(40)],
  ...[
    "\n",
    "\r\n",
    "\r",
    "\t",
    ",",
    ";",
    ":",
    "=",
    "&",
    "%",
    "%00",
    "%ff",
    "+",
    "../",
    "'",
    "' or 1=1--",
  ],
  ...["1m", "1M", "1mo", "TRADING", "BTCUSDT", "btcusdt@kline_1m", "<img src=x onerror=alert(1)>"],
  ...[
    "[".repeat(3_000),
    '{"a":'.repeat(2_000),
    "9".repeat(5_000),
    "a".repeat(100_000),
    " ".repeat(70_000),
  ],
  ...[
    "(a+)+$",
    "0,".repeat(5_000),
    `${"0".repeat(40_000)}.1`,
    "-".repeat(20_000),
    "/".repeat(20_000),
  ],
] as const;

/** A byte string a few steps away from a sound one. */
export function mutate(random: Random, seeds: readonly Buffer[]): Buffer {
  let bytes = pick(random, seeds);
  for (let step = between(random, 0, 6); step > 0; step -= 1) {
    bytes = pick(random, STEPS)(random, bytes, seeds);
  }
  return bytes.subarray(0, MAX_BYTES);
}

const MAX_BYTES = 1_000_000;

type Step = (random: Random, bytes: Buffer, seeds: readonly Buffer[]) => Buffer;

const STEPS: readonly Step[] = [
  // Another byte.
  (random, bytes) => {
    if (bytes.length === 0) return bytes;
    const copy = Buffer.from(bytes);
    copy[between(random, 0, copy.length - 1)] = between(random, 0, 255);
    return copy;
  },
  // A piece out, or the end cut off.
  (random, bytes) => {
    const [from, to] = stretch(random, bytes);
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]);
  },
  (random, bytes) => bytes.subarray(0, between(random, 0, bytes.length)),
  // A piece again, or very often.
  (random, bytes) => {
    const [from, to] = stretch(random, bytes);
    const piece = bytes.subarray(from, Math.min(to, from + 200));
    const again = Array.from({ length: pick(random, [1, 1, 2, 50, 2_000]) }, () => piece);
    return Buffer.concat([bytes.subarray(0, to), ...again, bytes.subarray(to)]);
  },
  // Something nasty in between, or in the place of a word.
  (random, bytes) => {
    const at = between(random, 0, bytes.length);
    return Buffer.concat([bytes.subarray(0, at), nasty(random), bytes.subarray(at)]);
  },
  (random, bytes) => {
    const words = [...bytes.toString("latin1").matchAll(/[\w.+-]+/g)];
    if (words.length === 0) return nasty(random);
    const { index, 0: word } = pick(random, words);
    const rest = bytes.subarray(index + word.length);
    return Buffer.concat([bytes.subarray(0, index), nasty(random), rest]);
  },
  // The head of one and the tail of another.
  (random, bytes, seeds) => {
    const other = pick(random, seeds);
    const tail = other.subarray(between(random, 0, other.length));
    return Buffer.concat([bytes.subarray(0, between(random, 0, bytes.length)), tail]);
  },
];

function nasty(random: Random): Buffer {
  return Buffer.from(pick(random, NASTY));
}

/** Offsets of a piece, short ones more often. */
function stretch(random: Random, bytes: Buffer): [number, number] {
  const from = between(random, 0, bytes.length);
  const length = Math.floor((bytes.length - from) * random() ** 3);
  return [from, from + length];
}
