// What a visitor downloads before a checkpoint is open and can be looked at: the page's program, the first part of the
// worker's, and the glue that loads them, as a server sends them. Fails if that is more than it may be. The later part
// of the worker's program comes when it is wanted, or when nothing else is to be done; it is kept from growing as well.
import { readFileSync } from "node:fs";
import { brotliCompressSync, constants } from "node:zlib";

const bounds = [
  ["before the first look", 600_000, ["start.js", "app_bg.wasm", "worker.js", "worker_start.js", "worker_bg.wasm"]],
  ["later", 515_000, ["worker_later.wasm"]],
];

const packed = (file) => {
  const bytes = readFileSync(new URL(`../../dist/${file}`, import.meta.url));
  const { length } = brotliCompressSync(bytes, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
  });
  console.log(`${file.padEnd(17)} ${String(bytes.length).padStart(9)} bytes, ${String(length).padStart(7)} with brotli`);
  return length;
};

for (const [when, most, files] of bounds) {
  const all = files.map(packed).reduce((sum, length) => sum + length, 0);
  console.log(`${when}: ${all} of ${most} bytes with brotli`);
  if (all > most) {
    console.error(`the page is ${all - most} bytes too large ${when}`);
    process.exitCode = 1;
  }
}
