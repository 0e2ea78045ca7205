/**
 * Hashes instead of a random generator with a history: any instant of the market is O(1), and only integer operations and
 * IEEE additions and products are used, so that a seed gives the same digits on every machine.
 */

/** Mixes two 32-bit integers into one, 0…2^32−1. */
export function mix(a: number, b: number): number {
  let hash = Math.imul(a ^ Math.imul(b ^ (b >>> 15), 0x2c1b3c6d), 0x9e3779b1);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x85ebca77);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae3d);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Hash of a text (FNV-1a over UTF-16 units), mixed with a seed. */
export function hashText(text: string, seed = 0): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return mix(hash >>> 0, seed);
}

/** A fraction 0 ≤ x < 1 that belongs to (seed, index). */
export function fraction(seed: number, index: number): number {
  return mix(seed, index) / 0x1_0000_0000;
}

/** Value noise: linear between hashed values at the integers, −1…1. */
function valueNoise(seed: number, position: number): number {
  const cell = Math.floor(position);
  const left = fraction(seed, cell);
  const right = fraction(seed, cell + 1);
  return 2 * (left + (right - left) * (position - cell)) - 1;
}

/** Octaves of period 1…2^15: from one step to some four years of hours. */
const OCTAVES = 16;
/** Below the 2^0.5 of a random walk, so that a price comes back to its usual level within years. */
const GROWTH = 1.34;

/** Noise that looks like a random walk at every scale: the sum of octaves whose amplitude grows with their period. */
export function walkNoise(seed: number, position: number): number {
  let sum = 0;
  let amplitude = 1;
  let period = 1;
  for (let octave = 0; octave < OCTAVES; octave++) {
    sum += amplitude * valueNoise(mix(seed, octave), position / period);
    amplitude *= GROWTH;
    period *= 2;
  }
  return sum;
}

/** About e^x, always positive, from products alone. */
export function growthOf(x: number): number {
  let power = Math.max(1 + x / 1024, 0.5);
  for (let doubling = 0; doubling < 10; doubling++) power *= power;
  return power;
}
