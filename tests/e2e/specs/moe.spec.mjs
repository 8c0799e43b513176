// The largest checkpoint people open: 671 billion weights, 91,991 tensors, 163 shards. Its data are holes, its
// headers are whole.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "../lib/fixtures.mjs";
import { discard, scratch } from "../lib/folders.mjs";
import { pageMemory, percentile, workPerFrame } from "../lib/measure.mjs";
import { arrive, longTasks, openFolder, opened, part, view, watchLongTasks } from "../lib/page.mjs";

/** The checkpoint in a scratch folder. */
function large() {
  const root = scratch("moe");
  const folder = join(root, "checkpoint");
  const { status, stderr } = spawnSync(process.env.QUANTSCOPE_XTASK, ["large", folder], { encoding: "utf8" });
  expect(status, stderr).toBe(0);
  return { root, folder };
}

test("671 billion weights in 163 shards are audited by their headers, and the page stays fluent", async ({ page }) => {
  const { root, folder } = large();
  await arrive(page, "cpu");
  await watchLongTasks(page);
  await openFolder(page, folder);
  await opened(page);
  await view(page, "layers");
  await expect(part(page, "layer-row").first()).toBeVisible();
  await view(page, "findings");
  await expect(part(page, "finding-group").first()).toBeVisible();
  // The driver hands over 165 files in the task in which the page takes them: half of the longest is its own.
  // The aim is 100 ms; between 88 and 143 were seen here, and twice that is not to be reached.
  const blocked = (await longTasks(page)).filter((duration) => duration > 300);
  expect(blocked, "tasks over 300 ms").toEqual([]);
  discard(root);
});

/** Layers whose names hold a text, by the index alone. */
function counter(folder) {
  const { weight_map: map } = JSON.parse(readFileSync(join(folder, "model.safetensors.index.json"), "utf8"));
  // The bare bias of a router belongs to the router.
  const layers = new Set(Object.keys(map).map((name) => name.replace(/\.(weight|weight_scale_inv|e_score_correction_bias)$/, "")));
  return (text) => [...layers].filter((name) => name.includes(text)).length;
}

// The limits are those of a machine that does other things meanwhile; the figures are printed.
test("91,991 tensors: first rows, search, scrolling and memory", async ({ page }) => {
  const { root, folder } = large();
  const count = counter(folder);
  await page.goto("/?engine=cpu#/layers");
  await expect(part(page, "drop-zone")).toBeVisible();
  await page.evaluate(() => {
    window.shown = new Promise((resolve) => {
      new MutationObserver(() => {
        if (document.querySelector('[data-testid="layer-row"][data-key]')) resolve(performance.now());
      }).observe(document.body, { childList: true, subtree: true });
    });
    document.querySelector('[data-testid="pick-folder"]').addEventListener("change", () => { window.picked = performance.now(); }, { capture: true });
  });
  await part(page, "pick-folder").setInputFiles(folder);
  const first = await page.evaluate(async () => (await window.shown) - window.picked);

  // Each key until the count of that text is there, which is asked of the worker and drawn.
  await part(page, "layer-search").focus();
  const keys = [];
  for (const text of ["e", "ex", "exp", "expe", "exper", "expert", "experts", "experts.", "experts.7", "experts.7."]) {
    const wanted = count(text).toLocaleString("en-US");
    const waiting = page.evaluate(([text, wanted]) => new Promise((resolve) => {
      let began = performance.now();
      const box = document.querySelector('[data-testid="layer-search"]');
      box.addEventListener("input", () => { began = performance.now(); }, { once: true, capture: true });
      const look = () => {
        const words = document.querySelector('[data-testid="layer-count"]').textContent;
        if (box.value === text && words.startsWith(`${wanted} `)) resolve(performance.now() - began);
        else requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    }), [text, wanted]);
    await page.keyboard.type(text.at(-1));
    keys.push(await waiting);
  }
  keys.sort((a, b) => a - b);

  await part(page, "layer-search").fill("");
  await part(page, "list-flat").click();
  await expect(part(page, "layer-count")).not.toContainText(" of ");
  const work = await workPerFrame(page, () => page.evaluate(() => new Promise((resolve) => {
    const list = document.querySelector('[data-testid="layer-list"]');
    let frames = 0;
    const step = () => {
      list.scrollTop += 240;
      frames += 1;
      if (frames < 240) requestAnimationFrame(step);
      else resolve();
    };
    requestAnimationFrame(step);
  })));
  expect(work.length).toBeGreaterThan(30);
  const memory = pageMemory();
  const figures = {
    "first rows": `${first.toFixed(0)} ms`,
    "a key of the search, median": `${percentile(keys, 0.5).toFixed(0)} ms`,
    "a key of the search, worst": `${keys.at(-1).toFixed(0)} ms`,
    "work per frame while scrolling, 95th percentile": `${percentile(work, 0.95).toFixed(1)} ms`,
    "memory of the page": `${(memory / 2 ** 20).toFixed(0)} MiB`,
  };
  console.log(figures);
  expect(first, "first rows").toBeLessThan(15_000);
  expect(percentile(keys, 0.5), "a key of the search").toBeLessThan(300);
  expect(percentile(work, 0.95), "work per frame").toBeLessThan(100);
  expect(memory, "memory").toBeGreaterThan(0);
  expect(memory, "memory").toBeLessThan(300 * 2 ** 20);
  discard(root);
});
