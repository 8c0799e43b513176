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

// Under these paths the same page has helpers that end at their fourth task: with an error, or without a word. A
// worker of a worker is out of reach of the tests, its script is not.
const ends = { throw: 'throw new Error("broken on purpose")', close: "self.close()" };
const broken = (script, end) => `${script.replace(/^init\(/m, "await init(")}
if (self.name.startsWith("compute-")) {
  const work = self.onmessage;
  let tasks = 0;
  self.onmessage = (event) => {
    tasks += 1;
    if (tasks === 4) { ${ends[end]}; return; }
    work(event);
  };
}
`;

createServer((request, response) => {
  const asked = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
  const [, end, path] = /^(?:\/helpers-(throw|close)(?=\/))?(.*)$/.exec(asked);
  const file = join(dist, normalize(path === "/" ? "/index.html" : path));
  if (!file.startsWith(dist) || !existsSync(file) || !statSync(file).isFile()) {
    response.writeHead(404).end();
    return;
  }
  if (end && path === "/worker_start.js") {
    response.writeHead(200, { "Content-Type": types[".js"], "Content-Security-Policy": policy });
    response.end(broken(readFileSync(file, "utf8"), end));
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
