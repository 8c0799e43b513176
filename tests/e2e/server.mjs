// Serves the built page for the tests. Prints nothing; Playwright waits for the port.
import { createReadStream, existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const dist = fileURLToPath(new URL("../../dist", import.meta.url));
const types = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
  ".wasm": "application/wasm", ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png",
};

// As `cargo xtask serve` does: a worker obeys the header of its own script, not the page's meta element.
const page = readFileSync(join(dist, "index.html"), "utf8");
const [, policy] = /http-equiv="Content-Security-Policy"\s+content="([^"]+)"/.exec(page);

createServer((request, response) => {
  const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
  const file = join(dist, normalize(path === "/" ? "/index.html" : path));
  if (!file.startsWith(dist) || !existsSync(file) || !statSync(file).isFile()) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, {
    "Content-Type": types[extname(file)] ?? "application/octet-stream",
    "Content-Length": statSync(file).size,
    "Cache-Control": "no-store",
    "Content-Security-Policy": policy,
  });
  createReadStream(file).pipe(response);
}).listen(Number(process.argv[2]), "127.0.0.1");
