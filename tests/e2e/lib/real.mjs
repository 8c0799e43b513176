// A folder on the disk, as the browser hands it out: dropped on the page, and written to under a permission of the
// browser's own, which is taken back as a user takes it back. The picker itself, and the question that the browser asks,
// are windows of the system, which no test can click.
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

/** Microseconds since 1601, in which the browser counts. */
const now = () => String((BigInt(Date.now()) + 11_644_473_600_000n) * 1000n);

/**
 * Notes in a new profile that an origin was allowed to write below this folder on every visit. What is dropped is allowed
 * by itself to be read only, and that note would replace one of the same folder: so what is dropped lies in this one.
 */
export function allow(profile, origin, folder) {
  const note = (setting) => ({ [`${origin},*`]: { last_modified: now(), setting } });
  const object = { "display-name": basename(folder), "is-directory": true, path: folder, readable: true, writable: true };
  const exceptions = {
    file_system_access_chooser_data: note({ "chosen-objects": [object] }),
    file_system_access_extended_permission: note(1),
  };
  mkdirSync(join(profile, "Default"), { recursive: true });
  writeFileSync(join(profile, "Default/Preferences"), JSON.stringify({ profile: { content_settings: { exceptions } } }));
}

/** Makes the picker of every page give the folder that was dropped last, if the browser lets it be written to. */
export const answerWithDropped = (context) => context.addInitScript(() => {
  let dropped;
  const take = (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
    if (event.type === "drop") dropped = event.dataTransfer.items[0].getAsFileSystemHandle();
  };
  window.take = () => ["dragenter", "dragover", "drop"].forEach((type) => window.addEventListener(type, take, true));
  window.leave = () => ["dragenter", "dragover", "drop"].forEach((type) => window.removeEventListener(type, take, true));
  window.showDirectoryPicker = async ({ mode }) => {
    const folder = await dropped;
    const state = await folder.requestPermission({ mode });
    if (state !== "granted") throw new DOMException(`the permission is ${state}`, "NotAllowedError");
    return folder;
  };
});

/** Drops a folder on the page, for its picker alone. */
export async function drop(page, folder) {
  const session = await page.context().newCDPSession(page);
  await page.evaluate(() => window.take());
  const data = { items: [], files: [folder], dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"]) {
    await session.send("Input.dispatchDragEvent", { type, x: 20, y: 20, data });
  }
  await page.evaluate(() => window.leave());
  await session.detach();
}

/** Makes ready to take back every permission for folders that an origin has, as the browser's own settings do. */
export async function revoker(context, origin) {
  const settings = await context.newPage();
  await settings.goto("chrome://settings/content/filesystem");
  return () => settings.evaluate((origin) => window.chrome.send("revokeFileSystemGrants", [origin]), origin);
}

/** Names in a folder on the disk; none if there is no such folder. */
export function namesIn(folder) {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
