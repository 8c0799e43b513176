// The page at home: without a network, newer versions, what is remembered, the sheet, the report.
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "../lib/fixtures.mjs";
import { discard, golden, scratch } from "../lib/folders.mjs";
import { arrive, openFolder, openSample, part, verify, view } from "../lib/page.mjs";
import { serve } from "../server.mjs";

const dist = fileURLToPath(new URL("../../../dist", import.meta.url));

/** Waits until the service worker has all files and serves them. */
const kept = (page) => expect.poll(() => page.evaluate(async () => {
  const registration = await navigator.serviceWorker.getRegistration();
  return registration?.active?.state === "activated" && navigator.serviceWorker.controller !== null;
})).toBe(true);

test("a page that was open once opens without a network, and works", async ({ page, context }) => {
  await arrive(page, "cpu");
  await kept(page);
  await context.setOffline(true);
  await page.reload();
  await expect(part(page, "drop-zone")).toBeVisible();
  await openFolder(page, golden("golden/e2e_llama_nvfp4/expected"));
  await verify(page);
  await page.goto("/remote.html");
  await expect(part(page, "address")).toBeVisible();
  await context.setOffline(false);
});

test("a newer version waits until it is wanted", async ({ page }) => {
  const folder = scratch("versions");
  cpSync(dist, folder, { recursive: true });
  const server = await serve(folder, 0);
  const url = `http://127.0.0.1:${server.address().port}/`;
  await page.goto(url);
  await kept(page);
  const write = (name, change) => writeFileSync(join(folder, name), change(readFileSync(join(folder, name), "utf8")));
  write("index.html", (html) => html.replace("<title>Quantscope</title>", "<title>Quantscope, newer</title>"));
  write("precache.js", (js) => js.replace(/"version":"[0-9a-f]+"/, '"version":"0000000000000000"'));
  // The page stays what it was, whole, until the user wants the other.
  await page.reload();
  await expect(page).toHaveTitle("Quantscope");
  await expect(part(page, "update")).toBeVisible();
  await openSample(page, "sound");
  await expect(page).toHaveTitle("Quantscope");
  await part(page, "update-now").click();
  await expect(page).toHaveTitle("Quantscope, newer");
  await expect(part(page, "update")).toBeHidden();
  const names = await page.evaluate(() => caches.keys());
  expect(names).toEqual(["quantscope-0000000000000000"]);
  await new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
  discard(folder);
});

test("it can be installed", async ({ page }) => {
  await arrive(page, "cpu");
  const href = await page.locator('link[rel="manifest"]').getAttribute("href");
  const manifest = await (await page.request.get(`/${href}`)).json();
  expect(manifest).toMatchObject({ name: "Quantscope", start_url: "./", display: "standalone" });
  for (const { src, type } of manifest.icons) {
    const icon = await page.request.get(`/${src}`);
    expect([icon.status(), icon.headers()["content-type"]]).toEqual([200, type]);
  }
  for (const [size, index] of [[192, 1], [512, 2]]) {
    const png = await (await page.request.get(`/${manifest.icons[index].src}`)).body();
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([size, size]);
  }
});

test("the first steps are shown until they were read, and settings stay until they are forgotten", async ({ page }) => {
  await page.goto("/");
  await expect(part(page, "guide")).toBeVisible();
  await part(page, "guide-close").click();
  await part(page, "engine-select").selectOption("cpu");
  await part(page, "theme-toggle").click();
  await page.reload();
  await expect(part(page, "drop-zone")).toBeVisible();
  await expect(part(page, "guide")).toBeHidden();
  await expect(part(page, "engine-select")).toHaveValue("cpu");
  await expect(page.locator("html")).toHaveAttribute("data-theme", "light");
  await part(page, "help-toggle").click();
  await part(page, "forget").click();
  expect(await page.evaluate(() => ({ ...localStorage }))).toEqual({});
  await page.reload();
  await expect(part(page, "guide")).toBeVisible();
  await expect(part(page, "engine-select")).toHaveValue("auto");
});

test("the sheet opens, takes the keyboard, and gives it back", async ({ page }) => {
  await arrive(page, "cpu");
  await part(page, "help-toggle").focus();
  await page.keyboard.press("?");
  await expect(part(page, "help-sheet").getByRole("button", { name: "Close" })).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(part(page, "help-sheet")).toBeHidden();
  await expect(part(page, "help-toggle")).toBeFocused();
});

test("the report has sizes and times, and no names", async ({ page, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await arrive(page, "cpu");
  await openFolder(page, golden("golden/e2e_llama_nvfp4/expected"));
  await verify(page);
  await view(page, "layers");
  await part(page, "list-flat").click();
  const name = await page.locator('[data-testid="layer-row"][data-name]').nth(1).getAttribute("data-name");
  await part(page, "help-toggle").click();
  await part(page, "copy-report").click();
  await expect(part(page, "report")).toContainText("verify: ");
  const report = await page.evaluate(() => navigator.clipboard.readText());
  for (const line of [/^quantscope \d/, /^browser: .*Chrome/m, /^engine: CPU/m, /^memory: \d{6,} bytes in the page, \d{6,} in the worker$/m, /^open: \d+ ms$/m, /nvfp4 \d+/]) {
    expect(report).toMatch(line);
  }
  for (const part of [name, name.split(".").pop(), "e2e_llama", "expected", "safetensors"]) expect(report).not.toContain(part);
});

test("a screen reader is told where the user is", async ({ page }) => {
  await arrive(page, "cpu");
  await openSample(page, "faults");
  await expect(part(page, "live")).toContainText(/^Overview: /);
  await view(page, "findings");
  await expect(part(page, "live")).toContainText(/^Findings: /);
});
