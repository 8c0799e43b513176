// A reader and a writer of small safetensors files, independent of the code under test.
import { readFileSync, writeFileSync } from "node:fs";

/** Reads a file: metadata, and per tensor its dtype, shape and bytes. */
export function readTensors(file) {
  return parseTensors(readFileSync(file));
}

export function parseTensors(buffer) {
  const length = Number(buffer.readBigUInt64LE(0));
  const { __metadata__: metadata, ...header } = JSON.parse(buffer.subarray(8, 8 + length).toString("utf8"));
  const data = buffer.subarray(8 + length);
  const tensors = new Map();
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries(header)) {
    tensors.set(name, { dtype, shape, bytes: data.subarray(begin, end) });
  }
  return { metadata, tensors };
}

/** Writes tensors one after the other, in the order of the map. */
export function writeTensors(file, { metadata, tensors }) {
  const header = metadata ? { __metadata__: metadata } : {};
  let end = 0;
  // Wider types first, as writers do, so that every tensor begins at a multiple of its element's size.
  const width = ({ shape, bytes }) => bytes.length / (shape.reduce((n, side) => n * side, 1) || 1);
  const ordered = [...tensors].sort((a, b) => width(b[1]) - width(a[1]));
  for (const [name, { dtype, shape, bytes }] of ordered) {
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.length] };
    end += bytes.length;
  }
  writeFileSync(file, Buffer.concat([headerBytes(header), ...ordered.map(([, { bytes }]) => bytes)]));
}

/** The length and the JSON, padded to a multiple of 8 as writers do. */
export function headerBytes(header) {
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, 0x20)]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded]);
}
