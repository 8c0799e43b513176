// Sessions in the page whose worker stands behind a trap (faulty_worker.js), and what came of them.
import { createHash } from "node:crypto";
import { expect } from "./fixtures.mjs";
import { part } from "./page.mjs";

/** How each call of the browser can fail; `revoked` is for good, all others once. Every one of them can be the last: the worker ends, or its memory does. */
export const WAYS = {
  read: ["changed", "short", "gone"],
  write: ["full", "short", "refused"],
  "read back": ["refused", "short", "flipped"],
  flush: ["refused"],
  open: ["refused"],
  "open stream": ["refused", "full"],
  "get file": ["refused", "gone"],
  move: ["refused", "gone", "revoked"],
  "write stream": ["full", "refused", "revoked"],
  "size stream": ["full", "refused"],
  "close stream": ["full", "refused", "revoked"],
  "get handle": ["refused", "gone"],
  "get folder": ["refused"],
  remove: ["refused"],
  "private files": ["refused"],
  estimate: ["refused"],
  request: ["garbled"],
  answer: ["refused"],
  adapter: ["refused"],
  device: ["refused"],
  map: ["refused"],
  submit: ["lost"],
};

/** Keeps what the page hands to downloads, by name, and lets nothing through. */
export async function keepDownloads(context) {
  await context.addInitScript(() => {
    const blobs = new Map();
    const make = URL.createObjectURL;
    URL.createObjectURL = (blob) => {
      const url = make.call(URL, blob);
      blobs.set(url, blob);
      return url;
    };
    window.downloads = {};
    const click = HTMLAnchorElement.prototype.click;
    HTMLAnchorElement.prototype.click = function () {
      if (!this.download) return click.call(this);
      window.downloads[this.download] = blobs.get(this.href);
    };
  });
}

/** SHA-256 of every file of the result, as the user saves them. */
async function saved(page) {
  await page.evaluate(() => { window.downloads = {}; });
  for (const button of await part(page, "save-file").all()) await button.click();
  return page.evaluate(async () => {
    const found = {};
    for (const [name, blob] of Object.entries(window.downloads)) {
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()));
      found[name] = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
    }
    return found;
  });
}

const say = (page, message, until) => page.evaluate(([message, until]) => new Promise((resolve, reject) => {
  const channel = new BroadcastChannel("faults");
  const timer = setTimeout(() => reject(new Error(`no worker answers ${JSON.stringify(message)}`)), 20_000);
  channel.onmessage = ({ data }) => {
    if (!(until in data)) return;
    clearTimeout(timer);
    channel.close();
    resolve(data[until]);
  };
  channel.postMessage(message);
}), [message, until]);

/** Sets the trap on a call, or, without one, only has it count. */
export const setTrap = (page, fault = {}) => say(page, { set: fault }, "isSet");

/** The doors of the calls that the trap has counted, in their order. */
export const askTrap = (page) => say(page, { ask: true }, "told");

/** Waits for an element, or for an error that is told; answers the error's words, or nothing. */
async function until(page, locator, timeout = 30_000) {
  const error = part(page, "error-box").first();
  await expect(locator.or(error).first()).toBeVisible({ timeout });
  return await error.isVisible() ? error.textContent() : undefined;
}

/** Clicks, unless what there was to click has gone with its view: then an error stands there. */
const click = (locator) => locator.click({ timeout: 5000 }).catch(() => {});

/**
 * Opens a folder, audits it, and converts it: within the browser, or into the folder that the picker gives. Answers
 * the hashes of what came of it, or the words of the error.
 */
export async function session(page, folder, { into = false } = {}) {
  await part(page, "pick-folder").setInputFiles(folder);
  let error = await until(page, part(page, "band-verdict"));
  if (error) return { error, step: "open" };
  await click(part(page, "verify-button"));
  error = await until(page, page.locator('[data-testid="verify-button"][title*="was read on"]'));
  if (error) return { error, step: "verify" };
  await click(part(page, "nav-convert"));
  const button = part(page, into ? "plan-run-into" : "plan-run");
  error = await until(page, page.locator(`[data-testid="${into ? "plan-run-into" : "plan-run"}"]:enabled`));
  if (error) return { error, step: "plan" };
  await click(button);
  error = await until(page, part(page, "convert-result"));
  if (error) return { error, step: "convert" };
  return { files: into ? undefined : await saved(page) };
}

/** Goes back to a page with nothing open, as a user does. */
export async function startAgain(page) {
  const close = part(page, "close-checkpoint");
  if (await close.isVisible()) await close.click();
  await expect(part(page, "drop-zone")).toBeVisible();
}

export const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
