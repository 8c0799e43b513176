// What the page promises about privacy and about files that nobody trusts: docs/security.md names these tests.
import { createHash } from "node:crypto";
import { chromium } from "@playwright/test";
import { appendFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "../lib/fixtures.mjs";
import { discard, golden, scratch } from "../lib/folders.mjs";
import { logTo, traffic } from "../lib/netlog.mjs";
import { arrive, openFolder, part, save, verify, view } from "../lib/page.mjs";
import { weights } from "../lib/random.mjs";
import { writeTensors } from "../lib/safetensors.mjs";
import { serve } from "../server.mjs";

const dist = fileURLToPath(new URL("../../../dist", import.meta.url));
const flags = JSON.parse(readFileSync(new URL("../../chromium-flags.json", import.meta.url), "utf8"));
const close = (server) => new Promise((resolve) => {
  server.close(resolve);
  server.closeAllConnections();
});

/** A browser that logs its traffic; gives it to `use` and answers what it asked for. */
async function logged(use) {
  const place = scratch("netlog");
  const file = join(place, "net.json");
  const context = await chromium.launchPersistentContext(join(place, "profile"), {
    executablePath: process.env.QUANTSCOPE_CHROMIUM ?? "/usr/bin/chromium",
    args: [...flags, ...logTo(file)],
    acceptDownloads: true,
  });
  await use(context.pages()[0] ?? await context.newPage());
  await context.close();
  const found = traffic(file);
  discard(place);
  expect(found.events, "the log says something").toBeGreaterThan(100);
  return found;
}

/** What Chromium asks of its maker by itself, whatever page is open: updates, accounts, which fields forms have. */
const BROWSERS_OWN = /^(update|content-autofill|clients\d?|safebrowsing|optimizationguide-pa|www|accounts|redirector|edgedl)\.(googleapis|google|gvt1|me\.gvt1)\.com(:\d+)?$/;

/** Of what was asked for, what is not on this server. What a page began counts wherever it goes. */
const elsewhere = ({ requests, names }, port) => [
  ...requests.filter(({ url }) => /^(https?|wss?|ftp):/.test(url) && new URL(url).host !== `127.0.0.1:${port}`)
    .filter(({ url, byBrowser }) => !byBrowser || !BROWSERS_OWN.test(new URL(url).host)).map(({ url }) => url),
  ...names.filter((name) => !/^(127\.0\.0\.1|localhost)(:\d+)?$/.test(name) && !BROWSERS_OWN.test(name)),
];

test("a whole session asks nothing of anybody but the page's own place, and nothing once it is loaded", async () => {
  test.setTimeout(240_000);
  const server = await serve(dist, 0);
  const { port } = server.address();
  const asked = [];
  server.on("request", ({ url }) => asked.push(url));
  const found = await logged(async (page) => {
    await page.goto(`http://127.0.0.1:${port}/?engine=cpu`);
    await expect.poll(() => page.evaluate(() => navigator.serviceWorker.controller !== null)).toBe(true);
    await page.reload();
    await expect(part(page, "engine-pill")).toContainText("CPU");
    await page.waitForLoadState("networkidle");
    expect(asked.length, "the page was loaded from here").toBeGreaterThan(5);
    asked.length = 0;
    await openFolder(page, golden("golden/_src/wan_vae"));
    await verify(page);
    for (const name of ["layers", "findings", "ties", "preview"]) await view(page, name);
    await view(page, "convert");
    await expect(part(page, "plan-run")).toBeEnabled();
    await part(page, "plan-run").click();
    await expect(part(page, "convert-result")).toBeVisible({ timeout: 60_000 });
    expect((await save(page, "diffusion_pytorch_model.safetensors")).length).toBeGreaterThan(1000);
    await part(page, "open-result").click();
    await expect(part(page, "verify-button")).not.toHaveAttribute("title", /was read on/);
    await verify(page);
    // The browser asks for a newer version of the service worker when it sees fit.
    const more = asked.filter((url) => !["/sw.js", "/precache.js"].includes(url));
    expect(more, "requests once the page was loaded").toEqual([]);
  });
  await close(server);
  expect(found.requests.some(({ url }) => url.includes(`127.0.0.1:${port}/worker_bg.wasm`)), "workers are in the log").toBe(true);
  expect(elsewhere(found, port)).toEqual([]);
});

test("the log of the traffic does show what is asked elsewhere", async () => {
  const [page, other] = [await serve(dist, 0), createServer((_, response) => response.end("."))];
  await new Promise((resolve) => { other.listen(0, "127.0.0.1", resolve); });
  const foreign = `http://127.0.0.1:${other.address().port}/stolen`;
  const found = await logged(async (tab) => {
    await tab.goto(`http://127.0.0.1:${page.address().port}/`);
    await tab.goto(foreign);
  });
  expect(elsewhere(found, page.address().port)).toContain(foreign);
  await close(page);
  await close(other);
});

test.describe("what the policy refuses", () => {
  test.use({ forgiven: /Content Security Policy|TrustedScript|TrustedHTML|Refused|violates|Failed to/ });

  test("a foreign address, code made of text, and markup made of text are refused, on the page and in its worker", async ({ page }) => {
    await arrive(page, "cpu");
    const tried = await page.evaluate(async () => {
      const attempt = async (work) => {
        try {
          await work();
          return "done";
        } catch (error) {
          return error.name;
        }
      };
      const div = document.createElement("div");
      return {
        fetch: await attempt(() => fetch("https://example.com/")),
        socket: await attempt(() => new Promise((resolve, reject) => {
          const socket = new WebSocket("wss://example.com/");
          socket.onopen = resolve;
          socket.onerror = () => reject(new TypeError("refused"));
        })),
        beacon: String(navigator.sendBeacon("https://example.com/", "x") && await new Promise((resolve) => {
          document.addEventListener("securitypolicyviolation", () => resolve("refused"), { once: true });
          setTimeout(() => resolve("sent"), 1000);
          navigator.sendBeacon("https://example.com/", "x");
        })),
        code: await attempt(() => Function("return 1")()),
        markup: await attempt(() => { div.innerHTML = "<b>bold</b>"; }),
        worker: await attempt(() => new Worker("./app.js")),
        inline: await attempt(() => new Worker(URL.createObjectURL(new Blob(["1"])))),
        script: await attempt(() => { document.createElement("script").src = "./app.js"; }),
        policy: await attempt(() => trustedTypes.createPolicy("mine", {})),
      };
    });
    expect(tried).toEqual({
      fetch: "TypeError", socket: "TypeError", beacon: expect.not.stringMatching(/^sent$/), code: "EvalError", markup: "TypeError",
      worker: "TypeError", inline: "TypeError", script: "TypeError", policy: "TypeError",
    });
    const [worker] = page.workers();
    const inWorker = await worker.evaluate(async () => {
      const names = {};
      try { await fetch("https://example.com/"); } catch (error) { names.fetch = error.name; }
      try { new Worker("https://example.com/a.js"); } catch (error) { names.worker = error.name; }
      return names;
    });
    expect(inWorker).toEqual({ fetch: "TypeError", worker: "TypeError" });
  });

  for (const [file, change] of [["early.js", "\n;"], ["start.js", "\n;"], ["page.css", "\n/**/"]]) {
    test(`a changed ${file} is not taken for the page's own`, async ({ page }) => {
      const folder = scratch("changed");
      cpSync(dist, folder, { recursive: true });
      appendFileSync(join(folder, file), change);
      const server = await serve(folder, 0);
      const refused = page.waitForEvent("console", (message) => /integrity/.test(message.text()));
      await page.goto(`http://127.0.0.1:${server.address().port}/`);
      await refused;
      if (file === "start.js") await expect(page.locator("main[aria-busy]"), "nothing was started").toBeVisible();
      await close(server);
      discard(folder);
    });
  }
});

test("every script and style that the page names has the hash of its file", async () => {
  for (const name of ["index.html", "remote.html"]) {
    const html = readFileSync(join(dist, name), "utf8");
    const tags = [...html.matchAll(/<(?:script|link)[^>]*>/g)].map(([tag]) => tag)
      .filter((tag) => /^<script|rel="(stylesheet|modulepreload)"/.test(tag));
    expect(tags.length).toBe(3);
    for (const tag of tags) {
      const file = /(?:src|href)="\.\/([^"]+)"/.exec(tag)[1];
      const hash = createHash("sha384").update(readFileSync(join(dist, file))).digest("base64");
      expect(tag, file).toContain(`integrity="sha384-${hash}"`);
    }
  }
  // What a script imports, it imports under no hash.
  for (const file of ["early.js", "start.js"]) expect(readFileSync(join(dist, file), "utf8"), file).not.toMatch(/^\s*import\b(?!\.meta)/m);
});

const HOSTILE = [
  '<img src=x onerror="window.pwned=1">', "<script>window.pwned=1</script>", '"><b id="bold">bold</b>', "javascript:window.pwned=1",
  "{{7*7}}${7*7}", "a\u202eb\u2066c", "__proto__", "constructor", "../../../etc/passwd", "tab\tnew\nline", "x".repeat(3000), "&lt;i&gt;",
];

/** Writes a checkpoint whose layers have these names. */
function hostile(folder, names) {
  mkdirSync(folder, { recursive: true });
  const tensors = new Map();
  names.forEach((name, index) => {
    tensors.set(`model.${name}.proj.weight`, { dtype: "BF16", shape: [16, 32], bytes: weights(512, index) });
    // A scale without a weight is a finding that names it.
    tensors.set(`lone.${name}.weight_scale`, { dtype: "F32", shape: [], bytes: Buffer.alloc(4, 0x3f) });
  });
  writeTensors(join(folder, "model.safetensors"), { tensors });
  writeFileSync(join(folder, "config.json"), JSON.stringify({ model_type: "<u id=under>llama", architectures: ['<img src=x onerror="window.pwned=1">'] }));
}

/** Makes sure that no name has become an element or run; answers whether one is there as text. */
async function isText(page, where) {
  const state = await page.evaluate(() => ({
    made: document.querySelectorAll("img, #bold, #under, body script, iframe, object, a[href^='javascript']").length,
    pwned: window.pwned,
    text: document.body.textContent.includes("<img src=x"),
  }));
  expect(state.made, `${where}: elements made of names`).toBe(0);
  expect(state.pwned, where).toBeUndefined();
  return state.text;
}

test("names with markup are text in every view", async ({ page }) => {
  const place = scratch("hostile");
  const [all, writable] = [join(place, "<b>all"), join(place, "<b>writable")];
  hostile(all, HOSTILE);
  // What has directions or paths in its name is read, but not written again.
  hostile(writable, HOSTILE.filter((name) => /^[ -.0-~]+$/.test(name) && !name.includes("..")));
  const dialogs = [];
  page.on("dialog", (dialog) => { dialogs.push(dialog.message()); dialog.dismiss(); });
  await arrive(page, "cpu");
  await openFolder(page, all);
  await verify(page);
  const shown = [];
  for (const name of ["overview", "layers", "findings", "ties", "preview", "convert"]) {
    await view(page, name);
    if (name === "convert") await expect(part(page, "error-box")).toContainText("u{202e}");
    await page.waitForTimeout(400);
    if (name === "layers") {
      await part(page, "list-flat").click();
      await page.locator('[data-testid="layer-row"][data-name*="<img"]').first().click();
      await page.waitForTimeout(400);
    }
    if (await isText(page, name)) shown.push(name);
  }
  for (const name of ["layers", "findings", "preview"]) expect(shown, "the names are there, as text").toContain(name);
  expect(await page.evaluate(() => Object.keys(Object.prototype))).toEqual([]);
  // And as the names of what a conversion plans, makes and proves.
  await part(page, "close-checkpoint").click();
  await openFolder(page, writable);
  await view(page, "convert");
  await expect(part(page, "plan-run")).toBeEnabled();
  expect(await isText(page, "the plan")).toBe(true);
  await part(page, "plan-run").click();
  await expect(part(page, "convert-result")).toBeVisible({ timeout: 60_000 });
  await part(page, "proof-show").click();
  await expect(part(page, "proof-table")).toBeVisible();
  expect(await isText(page, "the result")).toBe(true);
  await part(page, "open-result").click();
  await expect(part(page, "verify-button")).not.toHaveAttribute("title", /was read on/);
  await isText(page, "the result, opened");
  // And as differences between two checkpoints.
  await view(page, "compare");
  await part(page, "second-folder").setInputFiles(all);
  await part(page, "compare-run").click();
  await expect(part(page, "compare-found")).toBeVisible({ timeout: 60_000 });
  await expect(part(page, "difference").first()).toBeVisible();
  expect(await isText(page, "the comparison")).toBe(true);
  expect(dialogs).toEqual([]);
  discard(place);
});

test("the server's headers keep the page apart from others", async ({ page }) => {
  const response = await page.goto("/");
  const headers = response.headers();
  expect(headers["content-security-policy"]).toContain("frame-ancestors 'none'");
  expect(headers["x-content-type-options"]).toBe("nosniff");
  expect(headers["cross-origin-opener-policy"]).toBe("same-origin");
  expect(headers["cross-origin-embedder-policy"]).toBe("require-corp");
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
});
