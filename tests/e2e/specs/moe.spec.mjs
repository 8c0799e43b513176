// The largest checkpoint people open: 671 billion weights, 91,991 tensors, 163 shards. Its data are holes, its
// headers are whole.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "../lib/fixtures.mjs";
import { discard, scratch } from "../lib/folders.mjs";
import { pageMemory, percentile, workPerFrame } from "../lib/measure.mjs";
import { arrive, opened, part, view } from "../lib/page.mjs";

/** The checkpoint in a scratch folder. */
function large() {
  const root = scratch("moe");
  const folder = join(root, "checkpoint");
  const { status, stderr } = spawnSync(process.env.QUANTSCOPE_XTASK, ["large", folder], { encoding: "utf8" });
  expect(status, stderr).toBe(0);
  return { root, folder };
}

/** Notes when the page was given the files, and the long tasks since. The driver hands over 165 files in a task of its own. */
async function watchOpening(page) {
  await page.evaluate(() => {
    window.tasks = [];
    new PerformanceObserver((list) => { window.tasks.push(...list.getEntries()); }).observe({ type: "longtask" });
    window.shown = new Promise((resolve) => {
      new MutationObserver(() => {
        if (document.querySelector('[data-testid="layer-row"][data-key]')) resolve(performance.now());
      }).observe(document.body, { childList: true, subtree: true });
    });
    document.querySelector('[data-testid="pick-folder"]').addEventListener("change", () => { window.picked = performance.now(); }, { capture: true });
  });
}

test("671 billion weights in 163 shards are audited by their headers, and the page stays fluent", async ({ page }) => {
  const { root, folder } = large();
  await arrive(page, "cpu");
  await watchOpening(page);
  // Not by expectations: each of them looks through the whole page in a task of its own, of up to 140 ms.
  await part(page, "pick-folder").setInputFiles(folder);
  await part(page, "band-verdict").waitFor();
  await view(page, "layers");
  await part(page, "layer-row").first().waitFor();
  await view(page, "findings");
  await part(page, "finding-group").first().waitFor();
  const tasks = await page.evaluate(() => window.tasks
    .filter(({ startTime }) => startTime > window.picked - 5).map(({ duration }) => duration));
  console.log({ "long tasks of the page": tasks.map((duration) => `${duration} ms`).join(", ") || "none" });
  // The aim is 50 ms, and none was longer on a machine of two cores that did nothing else. A task is timed with what
  // other programs take of the processor meanwhile, so the limit leaves room for those.
  expect(tasks.filter((duration) => duration > 200), "tasks over 200 ms").toEqual([]);
  discard(root);
});

/** Layers whose names hold a text, by the index alone. */
function counter(folder) {
  const { weight_map: map } = JSON.parse(readFileSync(join(folder, "model.safetensors.index.json"), "utf8"));
  // The bare bias of a router belongs to the router.
  const layers = new Set(Object.keys(map).map((name) => name.replace(/\.(weight|weight_scale_inv|e_score_correction_bias)$/, "")));
  return (text) => [...layers].filter((name) => name.includes(text)).length;
}

/** Counts what the page asks its worker, and tells when something has come back since. */
function watchQuestions() {
  window.asked = 0;
  window.answered = () => Promise.resolve();
  const post = Worker.prototype.postMessage;
  Worker.prototype.postMessage = function postMessage(message, ...rest) {
    if (message?.attached) {
      window.asked += 1;
      const came = new Promise((resolve) => { this.addEventListener("message", resolve, { once: true }); });
      window.answered = () => came;
    }
    return post.call(this, message, ...rest);
  };
}

// The aims: first rows within 1 s, 50 ms a key, 8 ms of work a frame, 300 MB. Work is counted in time on the processor
// and holds on a busy machine. The others are times of the clock; they are printed, and their limits leave room for
// what a machine does besides.
test("91,991 tensors: first rows, search, scrolling and memory", async ({ page }) => {
  const { root, folder } = large();
  const count = counter(folder);
  await page.addInitScript(watchQuestions);
  await page.goto("/?engine=cpu#/layers");
  await expect(part(page, "drop-zone")).toBeVisible();
  await watchOpening(page);
  await part(page, "pick-folder").setInputFiles(folder);
  const first = await page.evaluate(async () => (await window.shown) - window.picked);
  await opened(page);
  const judged = await page.evaluate(() => performance.now() - window.picked);

  // Each key from its event to the frame in which the answer is drawn.
  await part(page, "layer-search").focus();
  const keys = [];
  const typed = "experts.7.up";
  for (let length = 1; length <= typed.length; length += 1) {
    const text = typed.slice(0, length);
    await page.evaluate(() => {
      const before = window.asked;
      window.key = new Promise((resolve) => {
        window.addEventListener("input", async () => {
          const began = performance.now();
          while (window.asked === before) await new Promise((next) => { setTimeout(next); });
          await window.answered();
          requestAnimationFrame(() => setTimeout(() => resolve({ took: performance.now() - began, asked: window.asked - before })));
        }, { once: true, capture: true });
      });
    });
    await page.keyboard.type(text.at(-1));
    const { took, asked } = await page.evaluate(() => window.key);
    expect(asked, "questions for one key").toBe(1);
    const words = count(text).toLocaleString("en-US");
    await expect(part(page, "layer-count")).toHaveText(new RegExp(`^${words} `));
    keys.push(took);
  }
  keys.sort((a, b) => a - b);

  // Who types faster than answers come asks for the last text, not for each.
  const before = await page.evaluate(() => window.asked);
  await part(page, "layer-search").evaluate((box) => {
    for (const text of ["l", "la", "lay", "laye", "layer", "layers", "layers.", "layers.4", "layers.42"]) {
      box.value = text;
      box.dispatchEvent(new Event("input", { bubbles: true }));
    }
  });
  const last = count("layers.42").toLocaleString("en-US");
  await expect(part(page, "layer-count")).toHaveText(new RegExp(`^${last} `));
  expect(await page.evaluate(() => window.asked) - before, "questions for nine keys at once").toBeLessThanOrEqual(2);

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
  // It did scroll, and of 46,000 rows those in sight are there, and a few beyond.
  const scrolled = await part(page, "layer-list").evaluate((list) => [list.scrollTop, Math.ceil(list.clientHeight / 30)]);
  expect(scrolled[0]).toBeGreaterThan(200 * 240);
  const inDocument = () => part(page, "layer-row").evaluateAll((rows) => rows.map((row) => Number(row.getAttribute("aria-rowindex")) - 2));
  const drawn = (await inDocument()).sort((a, b) => a - b);
  expect(drawn.length).toBeLessThanOrEqual(scrolled[1] + 18);
  expect(drawn).toEqual(drawn.map((_, at) => drawn[0] + at));
  expect(drawn[0]).toBeLessThanOrEqual(scrolled[0] / 30);
  expect(drawn.at(-1)).toBeGreaterThanOrEqual(scrolled[0] / 30 + scrolled[1] - 1);
  // Once the list is at rest, the document has them in their order.
  await expect.poll(inDocument).toEqual(drawn);
  // What a row says is of the layer that it is, and it stands where that belongs.
  for (const row of await part(page, "layer-row").all()) {
    const { name, says, place, top } = await row.evaluate((each) => ({
      name: each.dataset.name,
      says: each.querySelector(".layer-name").textContent,
      place: Number(each.getAttribute("aria-rowindex")) - 2,
      top: each.getBoundingClientRect().top - each.parentElement.getBoundingClientRect().top,
    }));
    expect(says).toBe(name);
    expect(top).toBe(place * 30);
  }
  // The keyboard stays in the list while its row is out of sight, and goes on from there.
  const holder = () => page.evaluate(() => document.activeElement.getAttribute("aria-rowindex") ?? document.activeElement.dataset.testid);
  await part(page, "layer-row").nth(drawn.length - 9).focus();
  const at = Number(await holder());
  expect(at).toBeGreaterThan(1000);
  await part(page, "layer-list").evaluate((list) => { list.scrollTop = 0; });
  await expect.poll(holder).toBe("layer-list");
  await page.keyboard.press("j");
  await expect.poll(holder).toBe(String(at + 1));
  const memory = pageMemory();
  const figures = {
    "first rows": `${first.toFixed(0)} ms`,
    "verdict": `${judged.toFixed(0)} ms`,
    "a key of the search, median": `${percentile(keys, 0.5).toFixed(0)} ms`,
    "a key of the search, worst": `${keys.at(-1).toFixed(0)} ms`,
    "work per frame while scrolling, 95th percentile": `${percentile(work, 0.95).toFixed(1)} ms`,
    "memory of the page": `${(memory / 2 ** 20).toFixed(0)} MiB`,
  };
  console.log(figures);
  expect(first, "first rows").toBeLessThan(15_000);
  expect(percentile(keys, 0.5), "a key of the search").toBeLessThan(250);
  expect(percentile(work, 0.95), "work per frame").toBeLessThan(16);
  expect(memory, "memory").toBeGreaterThan(0);
  expect(memory, "memory").toBeLessThan(300e6);
  discard(root);
});
