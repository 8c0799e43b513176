// The service worker keeps the page for use without a network; whatever becomes of what it keeps, the page works.
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "../lib/fixtures.mjs";
import { discard, golden, scratch } from "../lib/folders.mjs";
import { openFolder, part, verify } from "../lib/page.mjs";
import { serve } from "../server.mjs";

const dist = fileURLToPath(new URL("../../../dist", import.meta.url));

// What fails on purpose is told in the console too.
test.use({ forgiven: /planted|QuotaExceeded|Quota exceeded|Failed to (load|fetch)|ServiceWorker/ });

/** Serves the page with a service worker that begins with `planted`; gives its address to `use`. */
async function withKeeper(planted, use) {
  const folder = scratch("keeper");
  cpSync(dist, folder, { recursive: true });
  writeFileSync(join(folder, "sw.js"), planted + readFileSync(join(folder, "sw.js"), "utf8"));
  const server = await serve(folder, 0);
  await use(`http://127.0.0.1:${server.address().port}/`, folder);
  await new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
  discard(folder);
}

const controlled = (page) => page.evaluate(() => navigator.serviceWorker.controller !== null);
const isKept = (page) => expect.poll(() => controlled(page)).toBe(true);

/** Waits until the browser has given up a service worker that could not be installed. */
const isGivenUp = (page) => expect.poll(() => page.evaluate(async () => {
  const registration = await navigator.serviceWorker.getRegistration();
  return Boolean(registration?.installing ?? registration?.waiting ?? registration?.active);
})).toBe(false);

async function works(page) {
  await expect(part(page, "drop-zone")).toBeVisible();
  await openFolder(page, golden("golden/e2e_llama_nvfp4/expected"));
  await verify(page);
}

const refuse = (type, method, name) =>
  `${type}.prototype.${method} = () => Promise.reject(new DOMException("planted: ${method}", "${name}"));\n`;

for (const [what, planted] of [
  ["for which there is no room", refuse("Cache", "addAll", "QuotaExceededError")],
  ["for which there is no place", refuse("CacheStorage", "open", "SecurityError")],
]) {
  test(`files ${what} are not kept, and the page works from the network`, async ({ page }) => {
    await withKeeper(planted, async (url) => {
      await page.goto(url);
      await isGivenUp(page);
      await works(page);
      await page.reload();
      await works(page);
      expect(await controlled(page)).toBe(false);
    });
  });
}

test("a full disk leaves the page as it is, and it is kept once there is room", async ({ page, context }) => {
  await withKeeper("", async (url) => {
    const session = await context.newCDPSession(page);
    const quota = (quotaSize) => session.send("Storage.overrideQuotaForOrigin", { origin: new URL(url).origin, quotaSize });
    await quota(200_000);
    await page.goto(url);
    await isGivenUp(page);
    await works(page);
    await quota(4_000_000_000);
    await page.reload();
    await isKept(page);
    await works(page);
    await context.setOffline(true);
    await page.reload();
    await works(page);
    await context.setOffline(false);
  });
});

test("what is kept and cannot be read comes from the network", async ({ page }) => {
  await withKeeper(refuse("Cache", "match", "UnknownError"), async (url) => {
    await page.goto(url);
    await isKept(page);
    await page.reload();
    await works(page);
    expect(await controlled(page), "it went through the service worker").toBe(true);
  });
});

test("what the browser has thrown away comes from the network", async ({ page }) => {
  await withKeeper("", async (url) => {
    await page.goto(url);
    await isKept(page);
    expect(await page.evaluate(async () => {
      const names = await caches.keys();
      await Promise.all(names.map((name) => caches.delete(name)));
      return names.length;
    })).toBe(1);
    await page.reload();
    await works(page);
    expect(await controlled(page), "it went through the service worker").toBe(true);
  });
});

test("files of an older version that cannot be removed keep no newer one from its work", async ({ page }) => {
  const older = 'self.addEventListener("install", (event) => event.waitUntil(caches.open("quantscope-older")));\n';
  await withKeeper(older + refuse("CacheStorage", "delete", "UnknownError"), async (url) => {
    await page.goto(url);
    await isKept(page);
    expect(await page.evaluate(() => caches.keys())).toContain("quantscope-older");
    await page.reload();
    await works(page);
  });
});
