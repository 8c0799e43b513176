// Serves the built page for the tests, as `cargo xtask serve --allow-local` does. Prints nothing; Playwright waits
// for the port.
import { createReadStream, existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const types = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
  ".wasm": "application/wasm", ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png",
  ".webmanifest": "application/manifest+json",
};

// A worker obeys the header of its own script, not the page's meta element.
const policyOf = (page) => /http-equiv="Content-Security-Policy"\s+content="([^"]+)"/.exec(page)[1];
// What the server of `cargo xtask serve` says beside it.
const alone = {
  "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
  "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};
// The page that opens addresses may ask the servers of the tests, which are on this machine.
const withLocal = (text) => text.replace("connect-src 'self' https:", "connect-src 'self' https: http://127.0.0.1:*");

// Under these paths the same page has helpers that end at their second task: with an error, or without a word. A
// worker of a worker is out of reach of the tests, its script is not.
const ends = { "helpers-throw": 'throw new Error("broken on purpose")', "helpers-close": "self.close()" };
const broken = (script, end) => `${script.replace(/^init\(/m, "await init(")}
if (self.name.startsWith("compute-")) {
  while (!self.onmessage) await new Promise((resolve) => setTimeout(resolve, 1));
  const work = self.onmessage;
  let tasks = 0;
  self.onmessage = (event) => {
    tasks += 1;
    if (tasks === 2) { ${ends[end]}; return; }
    work(event);
  };
}
`;

// Under this path the page's worker stands behind a trap; those that it starts do not.
const trap = readFileSync(new URL("lib/faulty_worker.js", import.meta.url), "utf8");
const trapped = (script) => `${script.replace(/^init\(/m, `if (!self.name.startsWith("compute-")) {\n${trap}}\ninit(`)}`;

export function serve(folder, port) {
  const server = createServer((request, response) => {
    const asked = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const [, end, path] = /^(?:\/(helpers-throw|helpers-close|faulty)(?=\/))?(.*)$/.exec(asked);
    const file = join(folder, normalize(path === "/" ? "/index.html" : path));
    if (!file.startsWith(folder) || !existsSync(file) || !statSync(file).isFile()) {
      response.writeHead(404).end();
      return;
    }
    const connects = ["/remote.html", "/remote_worker_start.js"].includes(path);
    const page = withLocal(readFileSync(join(folder, connects ? "remote.html" : "index.html"), "utf8"));
    const headers = {
      "Content-Type": types[extname(file)] ?? "application/octet-stream",
      "Cache-Control": "no-store",
      "Content-Security-Policy": `${policyOf(page)}; frame-ancestors 'none'`,
      ...alone,
    };
    if (end && path === "/worker_start.js") {
      const script = readFileSync(file, "utf8");
      response.writeHead(200, headers).end(end === "faulty" ? trapped(script) : broken(script, end));
      return;
    }
    if (path === "/remote.html") {
      response.writeHead(200, headers).end(page);
      return;
    }
    response.writeHead(200, { ...headers, "Content-Length": statSync(file).size });
    createReadStream(file).pipe(response);
  });
  return new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve(server)));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await serve(fileURLToPath(new URL("../../dist", import.meta.url)), Number(process.argv[2]));
}
