// Contestants in JavaScript, and ours compiled to wasm, in Node.
//
// Each prints `ready`, and then for every line `run` the seconds of the work, a check of the result, and the seconds
// of the processor. With --cold
// nothing is done before the first line, so that it times the first call; without it the work is done some times
// before, as long as the engine still compiles.
import { openAsBlob, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(import.meta.url);
const cold = process.argv[2] === "--cold";
const [name, ...rest] = process.argv.slice(cold ? 3 : 2);

const count = (number) => number.toString(16).padStart(16, "0");

// The bytes of a header's JSON, and the length of its file.
function header(path) {
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE(0));
  return { json: new Uint8Array(bytes.buffer, bytes.byteOffset + 8, length), fileLength: bytes.length, bytes };
}

const contestants = {
  // JSON.parse of a text that is decoded already.
  "json-parse": (path) => {
    const text = new TextDecoder().decode(header(path).json);
    return { run: () => count(Object.keys(JSON.parse(text)).length - 1) };
  },
  // Decoding and parsing, which a page has to do with the bytes of a file.
  "decode-and-parse": (path) => {
    const { json } = header(path);
    return { run: () => count(Object.keys(JSON.parse(new TextDecoder().decode(json))).length - 1) };
  },
  // huggingface.js over a file in memory: what it fetches is handed to it.
  "huggingface-js": async (path, hub) => {
    const { parseSafetensorsMetadata } = require(hub);
    const { bytes } = header(path);
    const fetch = async (_, init = {}) => {
      const range = /bytes=(\d+)-(\d+)/.exec(new Headers(init.headers).get("range") ?? "");
      const [from, to] = range ? [Number(range[1]), Number(range[2])] : [0, bytes.length - 1];
      const headers = {
        "content-range": `bytes ${from}-${to}/${bytes.length}`,
        "content-length": String(to - from + 1),
        etag: '"a"',
        "x-linked-size": String(bytes.length),
      };
      return new Response(init.method === "HEAD" ? null : bytes.subarray(from, to + 1), {
        status: range ? 206 : 200,
        headers,
      });
    };
    const run = async () => {
      const found = await parseSafetensorsMetadata({ repo: "a/b", path: "model.safetensors", fetch });
      return count(Object.keys(found.header).length - 1);
    };
    return { run };
  },
  // Ours: the bytes are copied into the program's memory, parsed, and every entry is judged.
  "wasm-header": (path, program) => {
    const ours = require(program);
    const { json, fileLength } = header(path);
    return { run: () => count(ours.header(json, BigInt(fileLength))) };
  },
  "wasm-nvfp4": (path, rows, cols, program) => {
    const { Matrix } = require(program);
    const source = new Uint8Array(readFileSync(path).subarray(0, rows * cols * 2));
    const matrix = new Matrix(source, Number(rows), Number(cols));
    return { run: () => (matrix.quantize() ? undefined : "refused"), check: () => count(matrix.check()) };
  },
  // Reading every byte of a file as a page does.
  "blob": async (path) => {
    const blob = await openAsBlob(path);
    const piece = 8 << 20;
    const run = async () => {
      let read = 0;
      for (let at = 0; at < blob.size; at += piece) {
        read += (await blob.slice(at, at + piece).arrayBuffer()).byteLength;
      }
      return count(read);
    };
    return { run };
  },
};

const { run, check } = await contestants[name](...rest);
for (let warming = 0; !cold && warming < 3; warming += 1) {
  await run();
}
console.log("ready");
for await (const _ of createInterface({ input: process.stdin })) {
  const [begun, spent] = [performance.now(), process.cpuUsage()];
  const result = await run();
  const [seconds, { user, system }] = [(performance.now() - begun) / 1000, process.cpuUsage(spent)];
  console.log(`${seconds.toFixed(9)} ${check ? check() : result} ${((user + system) / 1e6).toFixed(9)}`);
}
