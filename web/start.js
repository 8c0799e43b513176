// Loads the page's program. A file of its own, since the content security policy forbids inline scripts.
import "./trusted.js";
import init from "./app.js";

init({ module_or_path: "./app_bg.wasm" });
