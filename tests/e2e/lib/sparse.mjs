// Checkpoints of gigabytes that take no room on the disk: a header, and a file as long as it promises.
import { closeSync, openSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { headerBytes } from "./safetensors.mjs";

const widths = { BF16: 2, F32: 4, U8: 1, F8_E4M3: 1 };

/** Writes a file of these tensors, `[name, dtype, shape]` each. Answers the length of header and file. */
export function writeSparse(file, tensors) {
  const header = {};
  let end = 0;
  for (const [name, dtype, shape] of tensors) {
    const bytes = shape.reduce((product, dimension) => product * dimension, widths[dtype]);
    header[name] = { dtype, shape, data_offsets: [end, end + bytes] };
    end += bytes;
  }
  const start = headerBytes(header);
  writeFileSync(file, start);
  truncateSync(file, start.length + end);
  mark(file, start.length, header);
  return { headerLength: start.length, fileLength: start.length + end };
}

/** A few bytes at the beginning of each tensor that no other has, so that none are taken for copies. */
function mark(file, dataStart, header) {
  const handle = openSync(file, "r+");
  Object.values(header).forEach(({ dtype, data_offsets: [begin, end] }, index) => {
    // 0x38 is 1.0 in E4M3 and a pair of ordinary codes in packed weights; the number follows in two of them.
    const bytes = dtype === "F32" ? Buffer.from(Float32Array.of(1 / (index + 2)).buffer)
      : Buffer.from([0x38, 0x30 + (index & 7), 0x30 + ((index >> 3) & 7), 0x30 + ((index >> 6) & 7)]);
    writeSync(handle, bytes.subarray(0, Math.min(bytes.length, end - begin)), 0, undefined, dataStart + begin);
  });
  closeSync(handle);
}

/** Layers of NVFP4, `rows` x `columns` weights each. */
export function nvfp4Layers(count, rows, columns) {
  return Array.from({ length: count }, (_, index) => `model.layers.${index}.mlp.up_proj`).flatMap((layer) => [
    [`${layer}.weight_scale_2`, "F32", []],
    [`${layer}.input_scale`, "F32", []],
    [`${layer}.weight`, "U8", [rows, columns / 2]],
    [`${layer}.weight_scale`, "F8_E4M3", [rows, columns / 16]],
  ]);
}
