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
  await view(page, "ties");
  await page.goBack();
  await expect(page).toHaveURL(/#\/layers\?flat=1&toggled=/);
  await page.goForward();
  await expect(page).toHaveURL(/#\/ties/);
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
  await expect(page).toHaveURL(/#\/overview\?at=(decoder|encoder)$/);
  await expect(map).not.toHaveAttribute("data-path", "");
  // The keyboard goes on in the cells of the module, and back out of it.
  await expect(cells.first()).toBeFocused();
  expect(await total()).toBeLessThan(whole);
  await page.keyboard.press("Backspace");
  await expect(map).toHaveAttribute("data-path", "");
  await expect.poll(total).toBe(whole);
  await page.goBack();
  await expect(page).toHaveURL(/#\/overview\?at=/);
});

/** Codes and values of an NVFP4 block, from the bytes by its formula. */
function blockOf(folder, layer, row, column) {
  const { tensors } = readTensors(weightFile(golden(folder)));
  const { shape: [, packed], bytes } = tensors.get(`${layer}.weight`);
  const scales = tensors.get(`${layer}.weight_scale`);
  const global = tensors.get(`${layer}.weight_scale_2`).bytes.readFloatLE(0);
  const byte = scales.bytes[row * scales.shape[1] + column / 16];
  const exponent = (byte >> 3) & 15;
  const scale = exponent === 0 ? (byte & 7) / 8 * 2 ** -6 : (1 + (byte & 7) / 8) * 2 ** (exponent - 7);
  const stored = bytes.subarray(row * packed + column / 2, row * packed + column / 2 + 8);
  const codes = [...stored].flatMap((each) => [each & 15, each >> 4]);
  const values = codes.map((code) => (code & 8 ? -1 : 1) * [0, 0.5, 1, 1.5, 2, 3, 4, 6][code & 7] * scale * global);
  return { stored: stored.toString("hex").replace(/../g, "$& ").trim(), codes, values };
}

test("a layer's panel: heat map, codes, largest values, any block, lines of Python", async ({ page }) => {
  const layer = "model.layers.1.mlp.up_proj";
  await arrive(page, "cpu");
  await openFolder(page, golden(llama));
  await page.evaluate((layer) => { location.hash = `#/layers?layer=${layer}`; }, layer);
  const panel = part(page, "layer-panel");
  await expect(part(panel, "block")).toBeVisible();

  // Codes as they are counted from the file.
  const { tensors } = readTensors(weightFile(golden(llama)));
  const counts = Array.from({ length: 16 }, () => 0);
  for (const byte of tensors.get(`${layer}.weight`).bytes) {
    counts[byte & 15] += 1;
    counts[byte >> 4] += 1;
  }
  await part(panel, "census").locator("summary").click();
  await expect(part(panel, "census").locator("tbody tr td:nth-child(2)")).toHaveText(counts.map((count) => count.toLocaleString("en-US")));

  // Any block, as stored and as decoded.
  await part(panel, "block-row").fill("11");
  await part(panel, "block-row").press("Enter");
  await expect(part(panel, "block")).toHaveAttribute("data-row", "11");
  await part(panel, "block-next").click();
  await expect(part(panel, "block")).toHaveAttribute("data-col", "16");
  const expected = blockOf(llama, layer, 11, 16);
  await expect(part(panel, "block-bytes")).toHaveText(expected.stored);
  const cells = part(panel, "block").locator(".block-cells div");
  await expect(cells.locator("code")).toHaveText(expected.codes.map((code) => code.toString(16)));
  const shown = await cells.evaluateAll((found) => found.map((each) => Number(each.title)));
  shown.forEach((value, index) => expect(Math.abs(value - expected.values[index])).toBeLessThanOrEqual(Math.abs(expected.values[index]) * 1e-6));

  // The heat map down to single values, by keyboard.
  const heat = part(panel, "heat-map");
  await heat.focus();
  for (let step = 0; step < 12; step += 1) await page.keyboard.press("+");
  await expect(heat).toHaveAttribute("data-exact", "true");
  await expect(heat).toHaveAttribute("data-area", /,8,6$/);
  await page.keyboard.press("ArrowRight");
  const [, row, column] = /row (\d+), column (\d+)/.exec((await part(panel, "heat-readout").textContent()).replaceAll(",", "").replace(/row (\d+) column/, "row $1, column"));
  const read = Number(await part(panel, "heat-readout").locator("b").textContent());
  const there = blockOf(llama, layer, Number(row), Math.floor(Number(column) / 16) * 16).values[Number(column) % 16];
  expect(Math.abs(read - there)).toBeLessThanOrEqual(Math.abs(there) * 1e-6);
  await page.keyboard.press("Enter");
  await expect(part(panel, "block")).toHaveAttribute("data-row", row);
  await page.keyboard.press("0");
  await expect(heat).not.toHaveAttribute("data-area", /,8,6$/);
  await part(panel, "heat-scales").click();
  await expect(heat).toHaveAttribute("aria-label", /64 rows by 4 columns/);
  // The canvas is not blank.
  const inked = () => heat.evaluate((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((value, index) => index % 4 === 3 && value > 200);
  });
  await expect.poll(inked).toBe(true);

  await part(panel, "python").locator("summary").click();
  await expect(part(panel, "python-lines")).toContainText(`file.get_tensor("${layer}.weight_scale")`);
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await part(panel, "python-copy").click();
  await expect(part(panel, "python")).toContainText("Copied");
  expect(await page.evaluate(() => navigator.clipboard.readText())).toContain("from safetensors import safe_open");
});

/** Opens a layer with a heat map; answers the map, and how to ask for the area it shows. */
async function heatMap(page) {
  await arrive(page, "cpu");
  await openFolder(page, golden(llama));
  await page.evaluate(() => { location.hash = "#/layers?layer=model.layers.1.mlp.up_proj"; });
  const heat = part(page, "heat-map");
  await heat.scrollIntoViewIfNeeded();
  const area = async () => (await heat.getAttribute("data-area")).split(",").map(Number);
  return { heat, area };
}

test("the wheel zooms a map that has the focus, and a drag moves it", async ({ page }) => {
  const { heat, area } = await heatMap(page);
  const whole = await area();
  await heat.hover();
  await page.mouse.wheel(0, -300);
  expect(await area()).toEqual(whole);
  await heat.scrollIntoViewIfNeeded();
  await heat.click();
  await page.mouse.wheel(0, -100);
  await expect.poll(async () => (await area())[2]).toBe(whole[2] / 2);
  const before = await area();
  const box = await heat.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2 - 60, { steps: 4 });
  await page.mouse.up();
  await expect.poll(async () => (await area())[0]).toBeGreaterThan(before[0]);
});

test("two fingers apart zoom into a map, together out of it, and do not move it", async ({ page, context }) => {
  const { heat, area } = await heatMap(page);
  const whole = await area();
  const box = await heat.boundingBox();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const touch = await context.newCDPSession(page);
  const fingers = (apart) => [{ x: x - apart / 2, y, id: 1 }, { x: x + apart / 2, y, id: 2 }];
  const pinch = async (from, to) => {
    await touch.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: fingers(from) });
    for (let step = 1; step <= 8; step += 1) {
      await touch.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: fingers(from + ((to - from) * step) / 8) });
    }
    await touch.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  };
  await pinch(60, 110);
  await expect.poll(async () => (await area())[2]).toBe(whole[2] / 2);
  const closer = await area();
  expect(closer[0], "the middle stays in the middle").toBe(whole[2] / 4);
  await pinch(110, 60);
  await expect.poll(area).toEqual(whole);
});
