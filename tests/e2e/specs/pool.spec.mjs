// Several workers write what one writes, also when some of them break, and none takes much memory.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "../lib/fixtures.mjs";
import { discard, scratch } from "../lib/folders.mjs";
import { openFolder, part, save, view } from "../lib/page.mjs";
import { layers, writeSparseLayers } from "../lib/random.mjs";
import { writeTensors } from "../lib/safetensors.mjs";

const NAME = "model.safetensors";
const LIMIT = 256 * 1024 * 1024;
const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");

let folder;
test.beforeAll(() => {
  folder = join(scratch("pool"), "model");
  mkdirSync(folder);
  const tensors = layers(3, 1024, 2048);
  // Rows that cannot be shared evenly.
  for (const [, tensor] of layers(1, 1101, 1024)) tensors.set("model.odd.up_proj.weight", tensor);
  writeTensors(join(folder, NAME), { tensors });
  writeFileSync(join(folder, "config.json"), JSON.stringify({ model_type: "llama" }));
});
test.afterAll(() => discard(folder));

async function convertIn(page, query, scheme) {
  await page.goto(`/?${query}`);
  await openFolder(page, folder);
  await run(page, scheme);
}

/**
 * Converts until what the result names is `engine`: the first plan starts the helpers and no job waits for them,
 * so a small one may be done before they listen.
 */
async function convertOn(page, engine, query, scheme) {
  await convertIn(page, query, scheme);
  for (let again = 0; again < 8 && !engine.test(await part(page, "convert-result").textContent()); again += 1) {
    await part(page, "drop-output").click();
    await run(page, scheme);
  }
  await expect(part(page, "convert-result")).toContainText(engine);
}

async function run(page, scheme) {
  await view(page, "convert");
  await part(page, "convert-scheme").selectOption(scheme);
  await expect(part(page, "plan-packed-count")).not.toHaveText("0");
  await expect(part(page, "plan-run")).toBeEnabled();
  await part(page, "plan-run").click();
  await expect(part(page, "convert-result")).toBeVisible({ timeout: 100_000 });
}

/** Hash of what the command-line tool writes. */
function expected(scheme) {
  const into = join(scratch("pool-cli"), "out");
  const { status, stderr } = spawnSync(process.env.QUANTSCOPE_CLI, ["convert", folder, "-o", into, "--to", scheme], { encoding: "utf8" });
  if (status !== 0) throw new Error(`quantscope convert ended with ${status}: ${stderr}`);
  const found = hash(readFileSync(join(into, NAME)));
  discard(into);
  return found;
}

const saved = async (page) => hash(await save(page, NAME));

for (const scheme of ["nvfp4", "nvfp4-mse", "fp8", "fp8-block", "mxfp8", "mxfp4"]) {
  test(`${scheme}: no helper, one and four, and the command line, write the same`, async ({ page }) => {
    const wanted = expected(scheme);
    for (const workers of [0, 1, 4]) {
      const engine = { 0: /on CPU, WebAssembly SIMD/, 1: /1 helper/, 4: /4 helpers/ }[workers];
      await convertOn(page, engine, `engine=cpu&workers=${workers}`, scheme);
      expect(await saved(page), `${workers} helpers`).toBe(wanted);
    }
  });
}

test("the GPU and the pool write the same", async ({ page }) => {
  await convertIn(page, "engine=gpu&workers=2", "nvfp4");
  await expect(part(page, "convert-result")).toContainText("WebGPU");
  expect(await saved(page)).toBe(expected("nvfp4"));
});

for (const end of ["throw", "close"]) {
  test(`helpers that are lost change nothing: ${end}`, async ({ page }) => {
    await page.goto(`/helpers-${end}/?engine=cpu&workers=2`);
    await openFolder(page, folder);
    await run(page, "nvfp4");
    // They were not waited for.
    await expect(part(page, "convert-result")).toContainText("on CPU, WebAssembly SIMD");
    await expect(part(page, "convert-result")).not.toContainText("helper");
    expect(Number(await part(page, "worker-memory").getAttribute("data-workers")), "they did work, and one more hashed").toBe(4);
    expect(await saved(page)).toBe(expected("nvfp4"));
  });
}

test("no worker takes 256 MiB for a checkpoint of 2 GB", async ({ page }) => {
  test.setTimeout(600_000);
  const large = join(scratch("pool-large"), "large");
  mkdirSync(large);
  // Layers of 256 MiB: none fits a tile.
  expect(writeSparseLayers(join(large, NAME), 8, 8192, 16384)).toBeGreaterThan(2e9);
  await page.goto("/?engine=cpu&workers=4");
  await openFolder(page, large);
  await view(page, "convert");
  await part(page, "convert-scheme").selectOption("nvfp4");
  await expect(part(page, "plan-run")).toBeEnabled();
  await part(page, "plan-run").click();
  await expect(part(page, "convert-result")).toBeVisible({ timeout: 500_000 });
  const most = Number(await part(page, "worker-memory").getAttribute("data-bytes"));
  expect(most).toBeGreaterThan(1 << 20);
  expect(most).toBeLessThan(LIMIT);
  discard(large);
});
