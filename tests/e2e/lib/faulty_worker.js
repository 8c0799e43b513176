// Stands in front of the worker's script in the tests: every call of the browser that the worker makes goes through a
// trap, which counts it and lets the one that it is set on fail. What it is told, and what it counts, goes over a
// channel of its own.
const unset = { calls: [], door: "", nth: 0, way: "", revoked: false };
const trap = { ...unset };
/** What a page may no longer do once its permission for a folder is taken back. */
const NEEDS_PERMISSION = ["open stream", "write stream", "size stream", "close stream", "get handle", "get file", "move", "remove"];

const refusal = (name) => new DOMException(`planted: ${name}`, name);

/** Memory that is used up: the next allocation traps. */
function exhaust() {
  const memory = trap.exports?.memory;
  for (let pages = 32768; memory && pages >= 1; pages = Math.floor(pages / 2)) {
    try {
      for (;;) memory.grow(pages);
    } catch {
      // Fewer pages, then.
    }
  }
}

/** Counts a call of `door`; tells how it fails, if it does. */
function pass(door) {
  trap.calls.push(door);
  // By door, since how often progress is told depends on the machine.
  if (door === trap.door) trap.nth -= 1;
  if (door !== trap.door || trap.nth !== 0) return trap.revoked && NEEDS_PERMISSION.includes(door) ? "refused" : "";
  if (trap.way === "killed") {
    self.close();
    return "never";
  }
  if (trap.way === "exhausted") {
    exhaust();
    return "";
  }
  if (trap.way === "revoked") {
    trap.revoked = true;
    return "refused";
  }
  return trap.way;
}

/** Puts the trap before a method of a prototype. `fails` makes the failure of each way. */
function before(prototype, method, door, fails) {
  const original = prototype?.[method];
  if (!original) return;
  prototype[method] = function (...given) {
    const way = pass(door);
    if (way === "never") return new Promise(() => {});
    return way ? fails(way, this, given, original) : original.apply(this, given);
  };
}

const rejects = (name) => () => Promise.reject(refusal(name));
const throws = (name) => () => {
  throw refusal(name);
};
const named = { refused: "NotAllowedError", gone: "NotFoundError", full: "QuotaExceededError" };
const rejected = (way) => Promise.reject(refusal(named[way]));

before(Blob.prototype, "arrayBuffer", "read", async (way, blob, given, original) => {
  if (way === "short") return (await original.apply(blob, given)).slice(0, Math.floor(blob.size / 2));
  throw refusal(way === "changed" ? "NotReadableError" : "NotFoundError");
});
before(FileSystemSyncAccessHandle.prototype, "write", "write", (way, handle, [bytes, options], original) => {
  if (way === "short") return original.call(handle, bytes.subarray(0, Math.floor(bytes.length / 2)), options);
  throw refusal(way === "full" ? "QuotaExceededError" : "InvalidStateError");
});
before(FileSystemSyncAccessHandle.prototype, "read", "read back", (way, handle, [bytes, options], original) => {
  if (way === "short") return original.call(handle, bytes.subarray(0, Math.floor(bytes.length / 2)), options);
  if (way === "flipped") {
    const read = original.call(handle, bytes, options);
    bytes[bytes.length - 1] ^= 1;
    return read;
  }
  throw refusal("NotReadableError");
});
before(FileSystemSyncAccessHandle.prototype, "flush", "flush", throws("QuotaExceededError"));
before(FileSystemFileHandle.prototype, "createSyncAccessHandle", "open", rejects("NoModificationAllowedError"));
before(FileSystemFileHandle.prototype, "createWritable", "open stream", rejected);
before(FileSystemFileHandle.prototype, "getFile", "get file", rejected);
before(FileSystemFileHandle.prototype, "move", "move", rejected);
before(FileSystemWritableFileStream.prototype, "write", "write stream", rejected);
before(FileSystemWritableFileStream.prototype, "truncate", "size stream", rejected);
before(FileSystemWritableFileStream.prototype, "close", "close stream", rejected);
before(FileSystemDirectoryHandle.prototype, "getFileHandle", "get handle", rejected);
before(FileSystemDirectoryHandle.prototype, "getDirectoryHandle", "get folder", rejected);
before(FileSystemDirectoryHandle.prototype, "removeEntry", "remove", rejected);
before(StorageManager.prototype, "getDirectory", "private files", rejects("SecurityError"));
before(StorageManager.prototype, "estimate", "estimate", rejects("TypeError"));
before(DedicatedWorkerGlobalScope.prototype, "postMessage", "answer", throws("DataCloneError"));
if (self.GPU) {
  before(GPU.prototype, "requestAdapter", "adapter", async () => null);
  before(GPUAdapter.prototype, "requestDevice", "device", rejects("OperationError"));
  before(GPUBuffer.prototype, "mapAsync", "map", rejects("OperationError"));
  before(GPUQueue.prototype, "submit", "submit", (way, queue, given, original) => {
    for (const device of trap.devices ?? []) device.destroy();
    return original.apply(queue, given);
  });
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (...given) {
    const device = await request.apply(this, given);
    (trap.devices ??= []).push(device);
    return device;
  };
}
// Before the program listens: a request that it never sees, but for the word that there was one.
self.addEventListener("message", (event) => {
  const way = pass("request");
  if (!way) return;
  event.stopImmediatePropagation();
  if (way === "garbled") self.dispatchEvent(new MessageEvent("messageerror"));
});
// The last one to put things in: the memory of the program, for when it shall run out.
const streaming = WebAssembly.instantiateStreaming;
WebAssembly.instantiateStreaming = async (...given) => {
  const made = await streaming.apply(WebAssembly, given);
  trap.exports = made.instance.exports;
  return made;
};

const channel = new BroadcastChannel("faults");
channel.onmessage = ({ data }) => {
  if (data.set) {
    Object.assign(trap, unset, { calls: [] }, data.set);
    channel.postMessage({ isSet: true });
  }
  if (data.ask) channel.postMessage({ told: trap.calls });
};
