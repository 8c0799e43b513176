// Checkpoints of plain BF16 layers with ordinary random weights, in memory or as large files of which only some
// parts take room on the disk.
import { closeSync, openSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { headerBytes } from "./safetensors.mjs";

/** A generator of 32-bit numbers (mulberry32): the same seed gives the same bytes. */
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** BF16 weights of either sign between 2^-12 and 2^-2: `count` of them. */
export function weights(count, seed) {
  const next = generator(seed);
  const words = new Uint16Array(count);
  for (let i = 0; i < count; i += 1) {
    const random = next();
    words[i] = (random & 0x807f) | ((115 + ((random >>> 16) % 10)) << 7);
  }
  return Buffer.from(words.buffer);
}

/** `count` layers of `rows` x `columns` weights as tensors by name. */
export function layers(count, rows, columns) {
  return new Map(Array.from({ length: count }, (_, index) => [
    `model.layers.${index}.mlp.up_proj.weight`,
    { dtype: "BF16", shape: [rows, columns], bytes: weights(rows * columns, index + 1) },
  ]));
}

/**
 * Writes a checkpoint of `count` layers of `rows` x `columns` weights to a file. Of each layer only a run at its
 * beginning, one in its middle and one at its end are there; the rest is a hole, which reads as zeros.
 */
export function writeSparseLayers(file, count, rows, columns, runBytes = 1 << 18) {
  const header = {};
  const bytes = rows * columns * 2;
  for (let index = 0; index < count; index += 1) {
    const begin = index * bytes;
    header[`model.layers.${index}.mlp.up_proj.weight`] =
      { dtype: "BF16", shape: [rows, columns], data_offsets: [begin, begin + bytes] };
  }
  const start = headerBytes(header);
  writeFileSync(file, start);
  truncateSync(file, start.length + count * bytes);
  const handle = openSync(file, "r+");
  const half = Math.floor(bytes / 4) * 2;
  for (let index = 0; index < count; index += 1) {
    const run = weights(runBytes / 2, index + 1);
    for (const at of [0, half, bytes - runBytes]) {
      writeSync(handle, run, 0, undefined, start.length + index * bytes + at);
    }
  }
  closeSync(handle);
  return start.length + count * bytes;
}
