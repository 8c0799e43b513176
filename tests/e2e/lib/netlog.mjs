// Everything that a browser asks of any network, as its own log of it says: pages, workers, service workers, and the
// browser itself.
import { readFileSync } from "node:fs";

/** Flags that have the browser write the log. */
export const logTo = (file) => [`--log-net-log=${file}`, "--net-log-capture-mode=Everything"];

/** Addresses that were asked for, each with whether the browser did so by itself, and names that were looked up. The browser has to be closed before. */
export function traffic(file) {
  const { constants, events } = JSON.parse(readFileSync(file, "utf8"));
  const type = Object.fromEntries(Object.entries(constants.logEventTypes).map(([name, number]) => [number, name]));
  const requests = new Map();
  const names = new Set();
  for (const event of events) {
    const what = type[event.type] ?? "";
    const { url, host, initiator } = event.params ?? {};
    // What no page began has no origin.
    if (what === "URL_REQUEST_START_JOB" && url) requests.set(`${initiator} ${url}`, { url, byBrowser: initiator === "not an origin" });
    else if (what.startsWith("URL_REQUEST") && url && !what.includes("REDIRECT")) requests.set(`? ${url}`, { url, byBrowser: true });
    if (what.startsWith("HOST_RESOLVER") && host) names.add(host.replace(/^\w+:\/\//, ""));
  }
  return { requests: [...requests.values()], names: [...names], events: events.length };
}
