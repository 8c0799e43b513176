// Looking around: the tree and the flat list, search, columns, the map of sizes, by pointer and by keyboard.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "../lib/fixtures.mjs";
import { discard, golden, scratch, weightFile } from "../lib/folders.mjs";
import { arrive, openFolder, openSample, part, view } from "../lib/page.mjs";
import { readTensors } from "../lib/safetensors.mjs";

const llama = "golden/e2e_llama_nvfp4/expected";

const row = (page, key) => page.locator(`[data-testid="layer-row"][data-key="${key}"]`);
const keys = (page) => part(page, "layer-row").evaluateAll((rows) => rows.map((each) => each.dataset.key));

/** Modules of a file that hold tensors, and the bytes of each prefix, by the header alone. */
function modules(folder) {
  const { tensors } = readTensors(weightFile(golden(folder)));
  const bytes = new Map();
  for (const [name, { bytes: data }] of tensors) {
    const parts = name.split(".").slice(0, -1);
    for (let length = 1; length <= parts.length; length += 1) {
      const path = parts.slice(0, length).join(".");
      bytes.set(path, (bytes.get(path) ?? 0) + data.length);
    }
  }
  return bytes;
}

/** Paths that hold tensors themselves: no other path begins with them. */
const leaves = (paths) => [...paths.keys()].filter((path) => ![...paths.keys()].some((other) => other.startsWith(`${path}.`)));

test("identical blocks are folded, open and close, and the address says so", async ({ page }) => {
  await arrive(page, "cpu");
  await openFolder(page, golden(llama));
  await view(page, "layers");
  const folded = row(page, "model.layers.0+");
  await expect(folded).toContainText("× 2");
  await expect(folded).toHaveAttribute("aria-expanded", "false");
  const bytes = modules(llama);
  // Two blocks that look alike hold twice the bytes of the first.
  await expect(folded.locator(".c-size")).toHaveAttribute("title", `${(2 * bytes.get("model.layers.0")).toLocaleString("en-US")} bytes`);
  await folded.click();
  await expect(row(page, "model.layers.0")).toBeVisible();
  await row(page, "model.layers.0").click();
  await expect(row(page, "model.layers.0.mlp")).toBeVisible();
  await expect(page).toHaveURL(/toggled=model\.layers\.0%2B&toggled=model\.layers\.0/);
  // The address alone brings it back.
  const address = new URL(page.url()).hash;
  await page.goto(`/?engine=cpu${address}`);
  await page.reload();
  await expect(part(page, "drop-zone")).toBeVisible();
  await openFolder(page, golden(llama));
  await expect(row(page, "model.layers.0.mlp")).toBeVisible();
  await part(page, "list-flat").click();
  await expect(part(page, "layer-row")).toHaveCount(leaves(bytes).length);
  await page.goBack();
  await expect(page).toHaveURL(/#\/overview/);
});

test("search, filters and columns", async ({ page }) => {
  await arrive(page, "cpu");
  await openFolder(page, golden(llama));
  await view(page, "layers");
  await part(page, "layer-search").fill("*.q_proj");
  const names = () => page.locator('[data-testid="layer-row"][data-name]').evaluateAll((rows) => rows.map((each) => each.dataset.name));
  await expect.poll(names).toEqual([0, 1].map((layer) => `model.layers.${layer}.self_attn.q_proj`));
  await expect(part(page, "layer-count")).toHaveText(/^2 of /);
  await part(page, "layer-search").fill("");
  await part(page, "list-flat").click();
  await part(page, "sort-size").click();
  await part(page, "sort-size").click();
  const bytes = modules(llama);
  const largest = Math.max(...leaves(bytes).map((path) => bytes.get(path)));
  await expect(part(page, "layer-row").first().locator(".c-size")).toHaveAttribute("title", `${largest.toLocaleString("en-US")} bytes`);
  await part(page, "filter-scheme").selectOption("bf16");
  await expect(part(page, "layer-row").filter({ hasText: "nvfp4" })).toHaveCount(0);
  // A column that was chosen is there again after a reload.
  await part(page, "columns").locator("summary").click();
  await part(page, "column-kind").check();
  await expect(part(page, "layer-row").first().locator(".c-kind")).not.toBeEmpty();
  await page.reload();
  await openFolder(page, golden(llama));
  await expect(part(page, "layer-row").first().locator(".c-kind")).not.toBeEmpty();
});

test("the tree by keyboard alone", async ({ page }) => {
  await arrive(page, "cpu");
  await openFolder(page, golden(llama));
  await view(page, "layers");
  await expect(row(page, "model.layers.0+")).toBeVisible();
  await part(page, "layer-row").first().focus();
  const at = async () => page.evaluate(() => document.querySelector(".row.cursor")?.dataset.key);
  for (let step = 0; step < 30 && await at() !== "model.layers.0+"; step += 1) await page.keyboard.press("j");
  await page.keyboard.press("ArrowRight");
  await expect(row(page, "model.layers.0+")).toHaveAttribute("aria-expanded", "true");
  await page.keyboard.press("ArrowRight");
  await expect.poll(at).toBe("model.layers.0");
  await page.keyboard.press("Enter");
  await expect(row(page, "model.layers.0")).toHaveAttribute("aria-expanded", "true");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await expect(part(page, "layer-panel")).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(part(page, "layer-panel")).toBeHidden();
  await page.keyboard.press("ArrowLeft");
  await expect.poll(at).toBe("model.layers.0");
  await page.keyboard.press("ArrowLeft");
  await expect(row(page, "model.layers.0")).toHaveAttribute("aria-expanded", "false");
});

test("the map of sizes is entered by pointer and keyboard, and has a table", async ({ page }) => {
  await arrive(page, "cpu");
  await openSample(page, "sound");
  const map = part(page, "size-map");
  await expect(map).toHaveAttribute("data-path", "");
  await part(page, "size-table").locator("summary").click();
  const button = part(page, "size-table").locator("button", { hasText: /^decoder\.mid_block/ }).first();
  const total = async () => (await part(page, "size-table").locator("tbody tr").evaluateAll((rows) =>
    rows.map((each) => Number(each.cells[3].title.replace(/\D/g, ""))))).reduce((sum, each) => sum + each, 0);
  await expect(button).toBeVisible();
  const whole = await total();
  // By keyboard: to another cell, and into one.
  const cells = part(page, "size-cell");
  await cells.first().focus();
  await page.keyboard.press("ArrowRight");
  await expect(cells.first()).not.toBeFocused();
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/#\/(overview\?at=|layers\?layer=)/);
  await page.goBack();
  await expect(map).toHaveAttribute("data-path", "");
  await expect.poll(total).toBe(whole);
});
