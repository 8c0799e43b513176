// Everything that a browser asks of any network, as its own log of it says: pages, workers, service workers, and the
// browser itself.
import { readFileSync } from "node:fs";

/** Flags that have the browser write the log. */
export const logTo = (file) => [`--log-net-log=${file}`, "--net-log-capture-mode=Everything"];

/** Addresses that were asked for, and names that were looked up. The browser has to be closed before. */
export function traffic(file) {
  const { constants, events } = JSON.parse(readFileSync(file, "utf8"));
  const type = Object.fromEntries(Object.entries(constants.logEventTypes).map(([name, number]) => [number, name]));
  const urls = new Set();
  const names = new Set();
  for (const event of events) {
    const what = type[event.type] ?? "";
    const { url, host } = event.params ?? {};
    if (what.startsWith("URL_REQUEST") && url) urls.add(url);
    if (what.startsWith("HOST_RESOLVER") && host) names.add(host.replace(/^\w+:\/\//, ""));
  }
  return { urls: [...urls], names: [...names], events: events.length };
}
