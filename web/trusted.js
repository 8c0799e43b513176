// The only addresses from which the page and its workers may load scripts by name. The content security policy asks
// for trusted types: whatever else would make a script, or markup, of a string is refused by the browser.
const scripts = ["./worker_start.js", "./remote_worker_start.js", "./sw.js"];

globalThis.trustedTypes?.createPolicy("default", {
  createScriptURL: (address) => (scripts.includes(address) ? address : null),
});
