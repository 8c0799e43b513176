// A long job leaves the page usable: no task of the main thread is long, and cancel works at once.
import { join } from "node:path";
import { expect, test } from "../lib/fixtures.mjs";
import { discard, scratch } from "../lib/folders.mjs";
import { arrive, longTasks, openFiles, part, verify, view, watchLongTasks } from "../lib/page.mjs";
import { nvfp4Layers, writeSparse } from "../lib/sparse.mjs";

const cases = [
  // 28 layers of 72 MiB: 2 GB.
  { title: "2 GB on the CPU engine", engine: "cpu", ran: /CPU/, layers: nvfp4Layers(28, 8192, 16384), most: 50 },
  // Software WebGPU takes both cores of a small machine, so less is asked of the page.
  { title: "a quarter of a gigabyte on software WebGPU", engine: "gpu", ran: /WebGPU/, layers: nvfp4Layers(4, 8192, 16384), most: 100 },
];

for (const { title, engine, ran, layers, most } of cases) {
  test(`verifying ${title} never blocks the page over ${most} ms`, async ({ page }) => {
    test.setTimeout(300_000);
    const folder = scratch("long");
    const file = join(folder, "model.safetensors");
    writeSparse(file, layers);
    await arrive(page, engine);
    await openFiles(page, file);
    await view(page, "layers");
    await watchLongTasks(page);
    await verify(page, { engine: ran, timeout: 240_000 });
    const blocked = (await longTasks(page)).filter((duration) => duration > most);
    expect(blocked, `tasks over ${most} ms`).toEqual([]);
    discard(folder);
  });
}

test("the observer sees a task that blocks", async ({ page }) => {
  await arrive(page, "cpu");
  await watchLongTasks(page);
  await page.evaluate(() => new Promise((resolve) => {
    setTimeout(() => {
      const end = performance.now() + 120;
      while (performance.now() < end);
      setTimeout(resolve, 50);
    });
  }));
  expect((await longTasks(page)).filter((duration) => duration > 100)).not.toEqual([]);
});

test("cancel ends a job within a second", async ({ page }) => {
  const folder = scratch("cancel");
  const file = join(folder, "model.safetensors");
  writeSparse(file, nvfp4Layers(28, 8192, 16384));
  await arrive(page, "cpu");
  await openFiles(page, file);
  await part(page, "verify-button").click();
  await expect(part(page, "job-bar")).toBeVisible();
  await expect(part(page, "job-cancel")).toBeEnabled();
  const start = Date.now();
  await part(page, "job-cancel").click();
  await expect(part(page, "job-bar")).toBeHidden({ timeout: 5_000 });
  expect(Date.now() - start).toBeLessThan(1000);
  await expect(part(page, "verify-button")).toHaveText("Verify bytes");
  discard(folder);
});
