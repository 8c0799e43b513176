// Loads the worker's program.
import "./trusted.js";
import init from "./worker.js";

init({ module_or_path: "./worker_bg.wasm" });
