// A conversion into a folder of the user's, or within the browser, that anything may interrupt: what has a final
// name is right, and whoever comes next finds the place clean.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "../lib/fixtures.mjs";
import { discard, scratch } from "../lib/folders.mjs";
import { arrive, openFolder, part, save, view } from "../lib/page.mjs";
import { answerPicker, finishedFiles, pickAndRemove, pickedFiles, putIntoPicked, removePicked, tabFolders } from "../lib/picked.mjs";
import { layers } from "../lib/random.mjs";
import { parseTensors, writeTensors } from "../lib/safetensors.mjs";

/** How often a tab is killed; 50 by hand. */
const KILLS = Number(process.env.QUANTSCOPE_KILLS ?? 4);
const NAME = "model.safetensors";

/** Several files, so that some are finished when a tab dies. */
const SHARD = "2MB";

let folder;
let expected;
let sharded;
test.beforeAll(() => {
  const place = scratch("saving");
  folder = join(place, "model");
  mkdirSync(folder);
  const tensors = layers(6, 1024, 2048);
  // Kept, so that bytes pass unchanged too.
  for (const [, tensor] of layers(1, 512, 1024)) tensors.set("model.embed_tokens.weight", tensor);
  writeTensors(join(folder, NAME), { tensors });
  writeFileSync(join(folder, "config.json"), JSON.stringify({ model_type: "llama" }));
  const converted = (...flags) => {
    const into = join(place, "out");
    const { status, stderr } = spawnSync(process.env.QUANTSCOPE_CLI, ["convert", folder, "-o", into, "--to", "nvfp4", ...flags], { encoding: "utf8" });
    if (status !== 0) throw new Error(`quantscope convert ended with ${status}: ${stderr}`);
    // The manifest names the engine's place in nothing, but the path of the source is another here.
    const names = readdirSync(into).filter((name) => name !== "quantscope.manifest.json");
    const hashes = names.map((name) => [name, createHash("sha256").update(readFileSync(join(into, name))).digest("hex")]);
    discard(into);
    return Object.fromEntries(hashes);
  };
  expected = converted();
  sharded = converted("--shard-size", SHARD);
  expect(Object.keys(sharded).length).toBeGreaterThan(5);
});
test.afterAll(() => discard(join(folder, "..")));

async function ready(page) {
  await arrive(page, "cpu");
  await openFolder(page, folder);
  await view(page, "convert");
  await expect(part(page, "plan-run-into")).toBeEnabled();
}

/** What the picked folder holds, but for the manifest. */
async function found(page) {
  const { "quantscope.manifest.json": manifest, ...files } = await pickedFiles(page);
  return { manifest, files };
}

test("the output goes straight into the folder that was picked", async ({ page, context }) => {
  await answerPicker(context);
  await ready(page);
  await part(page, "plan-run-into").click();
  await expect(part(page, "convert-result")).toContainText("in the folder picked", { timeout: 60_000 });
  const { manifest, files } = await found(page);
  expect(manifest).toBeTruthy();
  expect(files).toEqual(expected);
  expect(await tabFolders(page), "nothing went through the browser's own storage").toEqual([]);

  // Once more: nothing of what stands there is written over.
  await part(page, "drop-output").click();
  await part(page, "plan-run-into").click();
  await expect(page.getByRole("alert")).toContainText(/exists already/);
  expect((await found(page)).files).toEqual(expected);
});

test("the hashes on the page are those of the bytes that were saved", async ({ page }) => {
  await ready(page);
  await part(page, "plan-run").click();
  await part(page, "proof-show").click({ timeout: 60_000 });
  const table = part(page, "proof-table");
  const { tensors } = parseTensors(await save(page, NAME));
  await expect(table.locator("tbody tr")).toHaveCount(tensors.size);
  for (const [name, { bytes }] of tensors) {
    const row = table.locator("tr", { hasText: createHash("sha256").update(bytes).digest("hex") });
    await expect(row.first(), name).toBeVisible();
  }
});

test("the result opens like any checkpoint, and stays when the next conversion begins", async ({ page }) => {
  await ready(page);
  await part(page, "plan-run").click();
  await part(page, "open-result").click({ timeout: 60_000 });
  await expect(part(page, "band-verdict")).toContainText("NVFP4");
  await view(page, "convert");
  await part(page, "convert-scheme").selectOption("bf16");
  await expect(part(page, "plan-run")).toBeEnabled();
  await part(page, "plan-run").click();
  await expect(part(page, "convert-result")).toBeVisible({ timeout: 60_000 });
});

test("cancelled: nothing is left, and the page goes on", async ({ page, context }) => {
  await answerPicker(context);
  await ready(page);
  await part(page, "plan-run-into").click();
  await part(page, "job-cancel").click();
  await expect(part(page, "notice-box")).toContainText("Nothing of it was kept");
  expect(await pickedFiles(page)).toEqual({});
  await part(page, "plan-run-into").click();
  await expect(part(page, "convert-result")).toBeVisible({ timeout: 60_000 });
  expect((await found(page)).files).toEqual(expected);
});

test("a folder that goes away is told, and the next one is written", async ({ page, context }) => {
  await answerPicker(context);
  await ready(page);
  await pickAndRemove(page, "plan-run-into");
  await expect(page.getByRole("alert")).toContainText(/folder was moved or removed|NotFoundError|InvalidStateError/, { timeout: 60_000 });
  await part(page, "plan-run-into").click();
  await expect(part(page, "convert-result")).toBeVisible({ timeout: 60_000 });
  expect((await found(page)).files).toEqual(expected);
});

test("a full disk is told, in the folder and in the browser, and nothing is left", async ({ page, context }) => {
  await answerPicker(context);
  await ready(page);
  const session = await context.newCDPSession(page);
  const origin = new URL(page.url()).origin;
  const quota = (quotaSize) => session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize });
  // What is kept for use offline counts too, once all of it is there.
  await page.evaluate(() => Promise.race([navigator.serviceWorker.ready, new Promise((resolve) => setTimeout(resolve, 5000))]));
  const { usage } = await page.evaluate(() => navigator.storage.estimate());
  await quota(usage + 2_000_000);
  await part(page, "plan-run-into").click();
  await expect(page.getByRole("alert")).toContainText(/no room for/, { timeout: 60_000 });
  expect(await pickedFiles(page)).toEqual({});
  await part(page, "plan-run").click();
  await expect(page.getByRole("alert")).toContainText(/no room for|has .* left/, { timeout: 60_000 });
  expect(await tabFolders(page)).toEqual([]);
  await quota(4_000_000_000);
  await part(page, "plan-run-into").click();
  await expect(part(page, "convert-result")).toBeVisible({ timeout: 60_000 });
  expect((await found(page)).files).toEqual(expected);
});

/** Ready to convert into several files. */
async function readyInShards(page) {
  await ready(page);
  await page.getByText("Layout of the output").click();
  await part(page, "convert-shard").fill(SHARD);
  await expect(part(page, "plan-run-into")).toBeEnabled();
}

/** A tab that dies when some files are finished, and the next one. */
async function killed(page, context) {
  await part(page, "plan-run-into").click();
  await expect.poll(() => finishedFiles(page), { intervals: [20], timeout: 60_000 }).toBeGreaterThan(0);
  expect(await part(page, "convert-result").isVisible(), "it was done too soon").toBe(false);
  await page.goto("chrome://crash").catch(() => {});
  const next = await context.newPage();
  await page.close();
  await readyInShards(next);
  return next;
}

test("a tab that is killed is gone on with, to the same bytes", async ({ page: first, context }) => {
  await answerPicker(context);
  await readyInShards(first);
  let page = await killed(first, context);
  const left = await found(page);
  expect(Object.keys(left.files).every((name) => name.startsWith(".quantscope-")), "nothing has a final name").toBe(true);

  // The user is asked, and what is there stays until then.
  await part(page, "plan-run-into").click();
  await expect(part(page, "convert-stopped")).toContainText(/finished/);
  await expect(part(page, "convert-stopped")).toBeFocused();
  await part(page, "stopped-leave").click();
  expect((await found(page)).files).toEqual(left.files);

  // Another recipe is another conversion: nothing is mixed, and nothing is lost.
  await part(page, "convert-scheme").selectOption("fp8");
  await expect(part(page, "plan-run-into")).toBeEnabled();
  await part(page, "plan-run-into").click();
  await part(page, "stopped-continue").click();
  await expect(page.getByRole("alert").filter({ hasText: "another conversion" })).toBeVisible();
  expect((await found(page)).files).toEqual(left.files);
  await part(page, "convert-scheme").selectOption("nvfp4");
  await expect(part(page, "plan-run-into")).toBeEnabled();

  await part(page, "stopped-continue").click();
  await expect(part(page, "convert-result")).toBeVisible({ timeout: 60_000 });
  const { manifest, files } = await found(page);
  expect(manifest).toBeTruthy();
  expect(files).toEqual(sharded);

  // And what is not to be gone on with is removed.
  await removePicked(page);
  await part(page, "drop-output").click();
  page = await killed(page, context);
  await part(page, "plan-run-into").click();
  await part(page, "stopped-anew").click();
  await expect(part(page, "convert-result")).toBeVisible({ timeout: 60_000 });
  expect((await found(page)).files).toEqual(sharded);
});

/** Begins a conversion, and goes on with the one that a dead tab has left, if there is one to go on with. */
async function begin(page, way) {
  await part(page, way).click();
  await expect(part(page, "job-bar").or(part(page, "convert-stopped")).or(part(page, "convert-result")).first()).toBeVisible();
  // What the tab itself keeps dies with it.
  if (way === "plan-run-into") await part(page, "stopped-continue").click({ timeout: 500 }).catch(() => {});
}

for (const way of ["plan-run-into", "plan-run"]) {
  test(`a tab that is killed leaves nothing wrong: ${way}`, async ({ page: first, context }) => {
    test.setTimeout(60_000 + KILLS * 20_000);
    await answerPicker(context);
    let page = first;
    let unfinished = 0;
    for (let kill = 0; kill < KILLS; kill += 1) {
      await ready(page);
      await begin(page, way);
      // One at once; else anywhere from the first tile to beyond the end.
      await page.waitForTimeout(kill === 0 ? 0 : Math.random() * 2500);
      const done = await part(page, "convert-result").isVisible();
      await page.goto("chrome://crash").catch(() => {});
      const next = await context.newPage();
      await page.close();
      page = next;
      await arrive(page, "cpu");
      const { files } = await found(page);
      for (const [name, hash] of Object.entries(files)) {
        if (!name.startsWith(".quantscope-")) expect(hash, `${name} after kill ${kill}`).toBe(expected[name]);
      }
      unfinished += done ? 0 : 1;
      // The dead tab's own place is cleared by the next one.
      await expect.poll(() => tabFolders(page)).toEqual([]);
      // What has a final name would rightly stop the next conversion.
      if (Object.keys(files).some((name) => !name.startsWith(".quantscope-"))) await removePicked(page);
    }
    expect(unfinished, "tabs that died before the end").toBeGreaterThan(0);
    await ready(page);
    await begin(page, "plan-run-into");
    await expect(part(page, "convert-result")).toBeVisible({ timeout: 60_000 });
    expect((await found(page)).files, "leftovers are gone, the output is whole").toEqual(expected);
  });
}
