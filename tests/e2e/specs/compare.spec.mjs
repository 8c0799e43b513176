// Two checkpoints beside each other: what the page shows of them is what the command line says.
import { copyFileSync, cpSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { diff } from "../lib/cli.mjs";
import { expect, test } from "../lib/fixtures.mjs";
import { copyOf, discard, golden, scratch, weightFile } from "../lib/folders.mjs";
import { arrive, convert, openFolder, openSample, part, tabTo, view } from "../lib/page.mjs";
import { serveRanges } from "../lib/range-server.mjs";
import { weights } from "../lib/random.mjs";
import { readTensors, writeTensors } from "../lib/safetensors.mjs";

const exported = golden("golden/e2e_llama_nvfp4/expected");
const source = golden("golden/_src/llama");

/** Takes a second checkpoint as the button does, compares, and waits for the verdict. */
async function compareWith(page, folder) {
  await view(page, "compare");
  await part(page, "second-folder").setInputFiles(folder);
  await expect(part(page, "compare-sides")).toBeVisible();
  await part(page, "compare-run").click();
  await expect(part(page, "compare-found")).toBeVisible({ timeout: 60_000 });
}

const nameOf = ({ a, b }) => b ?? a;
const rows = (page) => part(page, "difference").evaluateAll((found) => found.map(({ dataset }) => dataset.name));
/** What the rows in sight have in cells too narrow for it, drawn over the next one. */
const drawnOver = (page) => part(page, "difference").evaluateAll((found) => found
  .flatMap((row) => [...row.children])
  .filter((cell) => cell.scrollWidth > cell.clientWidth && getComputedStyle(cell).overflowX === "visible")
  .map((cell) => cell.textContent));
const difference = (page, name) => page.locator(`[data-testid="difference"][data-name="${name}"]`);

/** Decibels are logarithms, whose last bit differs between processors and browsers. */
const same = (shown, figure) => expect(Math.abs(shown - figure)).toBeLessThanOrEqual(Math.abs(figure) * 1e-12);

/** Figures that the page shows, beside those of the command line: counts, causes, and every row. */
async function agrees(page, told) {
  const found = part(page, "compare-found");
  await expect(found).toHaveAttribute("data-unexplained", String(told.unexplained));
  await expect(found).toHaveAttribute("data-explained", String(told.explained));
  await expect(found).toHaveAttribute("data-equal", String(told.equal_layers));
  const causes = await part(page, "compare-cause").evaluateAll((chips) => chips.map((chip) => [chip.dataset.cause, Number(chip.querySelector("em").textContent.replaceAll(",", ""))]));
  expect(Object.fromEntries(causes)).toEqual(told.by_cause);
  // Every row, by scrolling through the list.
  const seen = new Map();
  const list = part(page, "difference-list");
  for (let top = 0; seen.size < told.differences.length && top < 30 * told.differences.length + 400; top += 240) {
    await list.evaluate((element, top) => { element.scrollTop = top; }, top);
    await expect.poll(() => part(page, "difference").evaluateAll((found) => found.every(({ dataset }) => dataset.name !== undefined))).toBe(true);
    for (const row of await part(page, "difference").evaluateAll((found) => found.map((each) => ({
      name: each.dataset.name, explained: each.dataset.explained,
      causes: [...each.querySelectorAll(".cause")].map((cause) => cause.textContent),
      sqnr: each.querySelector(".d-sqnr").title, most: each.querySelector(".d-max").title,
    })))) seen.set(row.name, row);
  }
  await list.evaluate((element) => { element.scrollTop = 0; });
  expect([...seen.keys()].sort()).toEqual(told.differences.map(nameOf).sort());
  for (const expected of told.differences) {
    const row = seen.get(nameOf(expected));
    expect(row.explained).toBe(String(expected.explained));
    expect(row.causes).toEqual(expected.causes);
    if (expected.max_abs === null) expect(row.most).toBe("");
    else expect(Number(row.most)).toBe(expected.max_abs);
    if (expected.sqnr_db === null) expect(row.sqnr).toBe("");
    else same(Number(row.sqnr), expected.sqnr_db);
  }
}

test("an export beside its source: the figures and causes of the command line", async ({ page }) => {
  const told = diff(source, exported);
  expect(told.differences.some(({ causes }) => causes.includes("quantized"))).toBe(true);
  await arrive(page, "cpu");
  await openFolder(page, exported);
  await compareWith(page, source);
  // The export is open; what it was made of has more bits, and is the first.
  await expect(part(page, "compare-sides")).toHaveAttribute("data-swapped", "true");
  await agrees(page, told);
  await expect(part(page, "compare-verdict")).toHaveText(told.unexplained ? /not explained/ : /are explained/);

  // Sorted by error: the worst first, what has none last.
  const figures = told.differences.filter(({ sqnr_db }) => sqnr_db !== null).sort((a, b) => a.sqnr_db - b.sqnr_db);
  await part(page, "sort-sqnr").click();
  await expect.poll(async () => (await rows(page))[0]).toBe(nameOf(figures[0]));
  await expect(page).toHaveURL(/#\/compare\?sort=sqnr/);
  await part(page, "sort-sqnr").click();
  await expect.poll(async () => (await rows(page))[0]).toBe(nameOf(figures.at(-1)));

  // One cause, a glob, both, and back.
  const tied = told.differences.filter(({ causes }) => causes.includes("config")).map(nameOf).sort();
  await page.locator('[data-testid="compare-cause"][data-cause="config"]').click();
  await expect.poll(async () => (await rows(page)).sort()).toEqual(tied);
  await page.locator('[data-testid="compare-cause"][data-cause="config"]').click();
  await part(page, "compare-search").fill("*.up_proj");
  const ups = told.differences.map(nameOf).filter((name) => name.endsWith(".up_proj")).sort();
  await expect.poll(async () => (await rows(page)).sort()).toEqual(ups);

  // One of them in full.
  const [up] = ups;
  const expected = told.differences.find((each) => nameOf(each) === up);
  await difference(page, up).click();
  const panel = part(page, "difference-panel");
  same(Number(await part(panel, "difference-sqnr").getAttribute("title")), expected.sqnr_db);
  await expect(part(panel, "difference-state")).toHaveText(/✓/);
  expect(await drawnOver(page)).toEqual([]);
  await expect(panel.locator(".causes li b")).toHaveText(expected.causes);
  const picture = part(panel, "difference-picture");
  await expect(picture).toHaveAttribute("data-rows", String(Math.min(expected.shape[0], 32)));
  await expect(picture).toHaveAttribute("data-cols", String(Math.min(expected.shape[1], 64)));
  const inked = () => picture.locator("canvas").evaluate((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, index) => index % 4 === 3 && value > 0).length;
  });
  await expect.poll(inked).toBeGreaterThan(expected.shape[0]);
  await expect(page).toHaveURL(new RegExp(`pair=${up}`));
  await page.goBack();
  await expect(panel).toBeHidden();
  await page.goForward();
  await expect(panel).toBeVisible();
  await part(panel, "difference-layer").click();
  await expect(page).toHaveURL(new RegExp(`#/layers\\?layer=${up}`));
});

test("the other way round, and taken away", async ({ page }) => {
  await arrive(page, "cpu");
  await openFolder(page, source);
  await compareWith(page, exported);
  await expect(part(page, "compare-sides")).toHaveAttribute("data-swapped", "false");
  await agrees(page, diff(source, exported));
  await part(page, "compare-swap").click();
  await expect(part(page, "compare-found")).toBeHidden();
  await part(page, "compare-run").click();
  await agrees(page, diff(exported, source));
  await part(page, "compare-drop").click();
  await expect(part(page, "second-drop")).toBeVisible();
});

test("what no cause explains is counted at the top and listed first", async ({ page }) => {
  const root = scratch("compare");
  const changed = copyOf("golden/e2e_llama_nvfp4/expected", join(root, "changed"));
  const file = weightFile(changed);
  const { metadata, tensors } = readTensors(file);
  // A bit of one norm, a weight with other bytes, and a layer that is gone.
  const norm = [...tensors.keys()].find((name) => name.endsWith("layers.0.input_layernorm.weight"));
  tensors.get(norm).bytes = Buffer.from(tensors.get(norm).bytes);
  tensors.get(norm).bytes[0] ^= 1;
  const down = tensors.get("model.layers.1.mlp.down_proj.weight");
  down.bytes = Buffer.from(down.bytes).reverse();
  tensors.delete("model.norm.weight");
  writeTensors(file, { metadata, tensors });
  const told = diff(source, changed);
  const open = told.differences.filter(({ explained }) => !explained).map(nameOf).sort();
  expect(open.length).toBeGreaterThanOrEqual(3);
  await arrive(page, "cpu");
  await openFolder(page, source);
  await compareWith(page, changed);
  await agrees(page, told);
  await expect(part(page, "compare-verdict")).toContainText(`${open.length} of ${told.differences.length} differences`);
  expect((await rows(page)).slice(0, open.length).sort()).toEqual(open);
  await part(page, "compare-open").click();
  await expect.poll(async () => (await rows(page)).sort()).toEqual(open);
  await difference(page, "model.layers.1.mlp.down_proj").click();
  await expect(part(page, "difference-state")).toHaveText(/✕/);
  discard(root);
});

test("names of another kind are matched by rename rules", async ({ page }) => {
  const root = scratch("compare");
  const renamed = copyOf("golden/e2e_llama_nvfp4/expected", join(root, "renamed"));
  const file = weightFile(renamed);
  const { metadata, tensors } = readTensors(file);
  writeTensors(file, { metadata, tensors: new Map([...tensors].map(([name, tensor]) => [name.replace(/^model\.layers\./, "blocks."), tensor])) });
  const rules = join(root, "rules.json");
  writeFileSync(rules, JSON.stringify({ renames: [{ pattern: "^model\\.layers\\.", repl: "blocks." }] }));
  const without = diff(exported, renamed);
  const told = diff(exported, renamed, "--rename", rules);
  expect(without.unexplained).toBeGreaterThan(0);
  expect(told.unexplained).toBe(0);
  await arrive(page, "cpu");
  await openFolder(page, exported);
  await compareWith(page, renamed);
  await agrees(page, without);
  await part(page, "compare-rules").setInputFiles(rules);
  await expect(part(page, "compare-rules-off")).toHaveText(/rules\.json/);
  await part(page, "compare-run").click();
  await expect(part(page, "compare-found")).toBeVisible();
  await agrees(page, told);
  // Rules that are none are refused with the reason, and nothing is shown as if they had been used.
  writeFileSync(rules, "{");
  await part(page, "compare-rules-off").click();
  await part(page, "compare-rules").setInputFiles(rules);
  await part(page, "compare-run").click();
  await expect(part(page, "error-box")).toContainText("Not compared");
  await expect(part(page, "compare-found")).toBeHidden();
  discard(root);
});

test("dropped here, a folder is the second checkpoint; what is none is refused with a next step", async ({ page }) => {
  await arrive(page, "cpu");
  await openFolder(page, exported);
  await view(page, "compare");
  const session = await page.context().newCDPSession(page);
  const box = await part(page, "second-drop").boundingBox();
  const data = { items: [], files: [source], dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"]) {
    await session.send("Input.dispatchDragEvent", { type, x: box.x + 30, y: box.y + 30, data });
  }
  await expect(part(page, "compare-sides")).toContainText("llama");
  await part(page, "compare-drop").click();
  const root = scratch("compare");
  mkdirSync(join(root, "none"));
  writeFileSync(join(root, "none", "notes.txt"), "no weights");
  await part(page, "second-folder").setInputFiles(join(root, "none"));
  await expect(part(page, "error-box")).toContainText("holds no .safetensors file");
  await expect(part(page, "second-drop")).toBeVisible();
  discard(root);
});

test("a conversion's result beside its source: the errors are those of the manifest", async ({ page }) => {
  await arrive(page, "cpu");
  await openFolder(page, source);
  await convert(page, { exclude: "*lm_head*", packed: "14" });
  await page.getByText("Round-trip error by layer").click();
  const written = await part(page, "error-table").locator("tbody tr").evaluateAll((rows) => rows.map((row) => [row.cells[0].textContent, row.cells[1].textContent]));
  expect(written.length).toBe(14);
  await part(page, "compare-result").click();
  await expect(part(page, "compare-sides")).toHaveAttribute("data-swapped", "false");
  await part(page, "compare-run").click();
  await expect(part(page, "compare-found")).toHaveAttribute("data-unexplained", "0");
  await page.locator('[data-testid="compare-cause"][data-cause="quantized"]').click();
  await expect(part(page, "difference")).toHaveCount(14);
  const found = await part(page, "difference").evaluateAll((rows) => rows.map((row) => [row.dataset.name, row.querySelector(".d-sqnr").textContent]));
  expect(Object.fromEntries(found)).toEqual(Object.fromEntries(written));
  // What is discarded is not compared any more.
  await view(page, "convert");
  await part(page, "drop-output").click();
  await view(page, "compare");
  await expect(part(page, "second-drop")).toBeVisible();
});

/** Two checkpoints of plain layers, one of them with other values in every layer: half a gigabyte to compare, which takes
 * longer than finding the button. */
function large(root) {
  for (const [name, seed] of [["a", 1], ["b", 2]]) {
    const values = Array.from({ length: 4 }, (_, index) => weights(1024 * 2048, seed * 100 + index));
    const tensors = new Map(Array.from({ length: 64 }, (_, index) => [
      `layers.${index}.weight`, { dtype: "BF16", shape: [1024, 2048], bytes: values[index % 4] },
    ]));
    mkdirSync(join(root, name));
    writeTensors(join(root, name, "model.safetensors"), { tensors });
  }
}

test("progress, and cancel within a second", async ({ page }) => {
  const root = scratch("compare");
  large(root);
  await arrive(page, "cpu");
  await openFolder(page, join(root, "a"));
  await view(page, "compare");
  await part(page, "second-folder").setInputFiles(join(root, "b"));
  await part(page, "compare-run").click();
  await expect(part(page, "job-bar")).toContainText("Comparing");
  await expect(part(page, "job-bar")).toContainText(/%.*\/s.*left/);
  const start = Date.now();
  await part(page, "job-cancel").click();
  await expect(part(page, "job-bar")).toBeHidden();
  expect(Date.now() - start).toBeLessThan(1000);
  await expect(part(page, "notice-box")).toContainText("Compare again");
  await expect(part(page, "compare-sides")).toBeVisible();
  discard(root);
});

test("by keyboard alone: a sample, its source, the worst layer", async ({ page }) => {
  await arrive(page, "cpu");
  await openSample(page, "sound");
  await tabTo(page, "nav-compare");
  await page.keyboard.press("Enter");
  await tabTo(page, "second-sample");
  await page.keyboard.press("Enter");
  await expect(part(page, "compare-sides")).toBeVisible();
  await tabTo(page, "compare-run");
  await page.keyboard.press("Enter");
  await expect(part(page, "compare-verdict")).toHaveText(/All \d+ differences are explained/);
  await tabTo(page, "sort-sqnr");
  await page.keyboard.press("Enter");
  await expect(page.locator('[aria-sort="ascending"]')).toContainText("SQNR");
  await tabTo(page, "difference-list");
  const [first, second, third] = await rows(page);
  expect(new Set([first, second, third]).size).toBe(3);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("j");
  await page.keyboard.press("k");
  await page.keyboard.press("Enter");
  await expect(part(page, "difference-panel")).toContainText(second);
  await expect(part(page, "difference-picture")).toBeVisible();
  await page.keyboard.press("End");
  await expect(page.locator('[data-testid="difference"].cursor')).toHaveAttribute("aria-rowindex", String(1 + Number(await part(page, "compare-found").getAttribute("data-explained"))));
  // The keyboard is on that row, far from where it was, and goes on from there.
  await expect(page.locator('[data-testid="difference"].cursor')).toBeFocused();
  const last = await page.locator('[data-testid="difference"].cursor').getAttribute("aria-rowindex");
  await page.keyboard.press("ArrowUp");
  await expect(page.locator('[data-testid="difference"].cursor')).toHaveAttribute("aria-rowindex", String(Number(last) - 1));
  await page.keyboard.press("Escape");
  await expect(part(page, "difference-panel")).toBeHidden();
});

test("the second comes from an address, and is read when the user says so", async ({ page }) => {
  const folder = scratch("compare-remote");
  for (const name of readdirSync(source)) cpSync(join(source, name), join(folder, name), { recursive: true });
  const [shard] = readdirSync(folder).filter((name) => name.endsWith(".safetensors"));
  const server = await serveRanges(folder);
  await page.goto("/remote.html?engine=cpu");
  await openFolder(page, exported);
  await view(page, "compare");
  await part(page, "second-address").fill(server.url(`/${shard}`));
  await part(page, "second-address-open").click();
  await expect(part(page, "compare-sides")).toBeVisible();
  const before = server.sent;
  await part(page, "compare-run").click();
  await expect(part(page, "held")).toContainText("127.0.0.1");
  expect(server.sent).toBe(before);
  await part(page, "held-allow").click();
  await expect(part(page, "compare-found")).toBeVisible();
  expect(server.sent).toBeGreaterThan(before);
  await expect(part(page, "second-traffic")).toContainText("Fetched");
  const alone = join(folder, "alone");
  mkdirSync(alone);
  copyFileSync(join(folder, shard), join(alone, shard));
  await agrees(page, diff(alone, exported));
  await server.close();
  discard(folder);
});
