// Loads the worker's program, and the part of it that is fetched later.
import "./trusted.js";
import init from "./worker.js";

// What reads and writes tensors is a file of its own, which opening a checkpoint does not wait for. It works in the
// memory of the first part, and takes from that what it calls. Both are of one build, or it cannot be joined.
const LATER = "./worker_later.wasm";
let first;
let later;
let joined = false;

const join = (module) => {
  if (joined) return;
  new WebAssembly.Instance(module, { first });
  joined = true;
};

const fetched = async () => {
  const response = await fetch(LATER);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return WebAssembly.compile(await response.arrayBuffer());
};

// The program asks for it before work that needs it.
self.fetchLater = () => {
  later ??= fetched().then(join).catch((error) => {
    later = undefined;
    throw error;
  });
  return later;
};

// The program has come upon something that is not here, in the middle of work: everything else has to wait.
self.loadLater = () => {
  const request = new XMLHttpRequest();
  request.open("GET", LATER, false);
  request.responseType = "arraybuffer";
  request.send();
  if (request.status !== 200) throw new Error(`the server answered ${request.status} to ${LATER}`);
  join(new WebAssembly.Module(request.response));
};

init({ module_or_path: "./worker_bg.wasm" }).then((exports) => {
  first = exports;
});
