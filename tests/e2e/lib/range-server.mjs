// A server of checkpoints on this machine: ranges, redirects, and whatever else a test wants of it.
import { openSync, readSync, closeSync, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { join, normalize } from "node:path";

const allowed = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Allow-Headers": "Range, Authorization",
  "Access-Control-Expose-Headers": "Content-Range, ETag",
};

function read(file, start, length) {
  const bytes = Buffer.alloc(length);
  const handle = openSync(file, "r");
  try {
    return bytes.subarray(0, readSync(handle, bytes, 0, length, start));
  } finally {
    closeSync(handle);
  }
}

/**
 * Serves a folder. `behave(path, count)` says how a request is answered: nothing for as it should be, or
 * `{ cut, status, moved, whole, unlabelled, longer, hidden, wait, other }`. The answer has `url`, `sent` (bytes of
 * bodies), `requests` (their heads) and `close`.
 */
export async function serveRanges(folder, behave = () => undefined) {
  const counts = new Map();
  const served = { sent: 0, requests: [] };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const path = decodeURIComponent(pathname).replace(/^\/moved/, "");
    if (request.method === "OPTIONS") {
      response.writeHead(204, allowed).end();
      return;
    }
    const count = counts.get(path) ?? 0;
    counts.set(path, count + 1);
    served.requests.push({ path, headers: request.headers });
    const how = behave(path, count) ?? {};
    const cors = how.hidden ? {} : allowed;
    const file = join(folder, normalize(path));
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    if (how.status) return void response.writeHead(how.status, cors).end();
    if (how.moved) return void response.writeHead(302, { ...cors, Location: `/moved${pathname}` }).end();
    if (!existsSync(file) || !statSync(file).isFile()) return void response.writeHead(404, cors).end();
    const size = statSync(file).size;
    const start = how.whole ? 0 : Number(first);
    const end = how.whole ? Math.min(size, 1 << 20) : Math.min(Number(last) + 1, size);
    let body = read(file, start, end - start);
    const headers = { ...cors, ETag: how.other ? `"${count}"` : '"1"', "Content-Length": how.whole ? size : body.length };
    if (!how.whole && !how.unlabelled) headers["Content-Range"] = `bytes ${start}-${end - 1}/${how.longer ? size + 1 + count : size}`;
    if (how.cut !== undefined) body = body.subarray(0, how.cut);
    const send = () => {
      response.writeHead(how.whole ? 200 : 206, headers);
      served.sent += body.length;
      if (how.cut === undefined && !how.whole) response.end(body);
      else response.write(body, () => response.destroy());
    };
    if (how.wait) setTimeout(send, how.wait);
    else send();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  served.url = (path) => `http://127.0.0.1:${server.address().port}${path}`;
  served.close = () => new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
  return served;
}
