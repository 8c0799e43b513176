// Loads the page's program. A file of its own, since the content security policy forbids inline scripts.
import "./trusted.js";
import init from "./app.js";

// First what index.html holds is drawn: the program is a hundred times as large, and both come over one line. A tab
// that is not in sight draws nothing.
if (!document.hidden) {
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
}
init({ module_or_path: "./app_bg.wasm" });
