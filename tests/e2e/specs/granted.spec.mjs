// Converting into a folder on the disk, under a permission of the browser's own: the same bytes as the command line's;
// and what stands there when the permission is taken back in the midst.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, launch, test as base } from "../lib/fixtures.mjs";
import { discard, scratch } from "../lib/folders.mjs";
import { arrive, openFolder, part, view } from "../lib/page.mjs";
import { layers } from "../lib/random.mjs";
import { allow, answerWithDropped, drop, namesIn, revoker } from "../lib/real.mjs";
import { writeTensors } from "../lib/safetensors.mjs";

/** Several files, so that some are finished in the midst. */
const SHARD = "2MB";

/** Hashes of the files in a folder, but for the manifest, which tells paths. */
function hashes(folder) {
  const names = namesIn(folder).filter((name) => name !== "quantscope.manifest.json");
  return Object.fromEntries(names.map((name) =>
    [name, createHash("sha256").update(readFileSync(join(folder, name))).digest("hex")]));
}

/** Kills a browser with all of its processes, which are known by the profile that no other has. */
function killBrowser(profile) {
  for (const id of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (readFileSync(`/proc/${id}/cmdline`, "utf8").includes(profile)) process.kill(Number(id), "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** Opens browsers that may write below a folder; none of them knows of the others. */
const test = base.extend({
  visit: async ({ baseURL }, use) => {
    const open = [];
    await use(async (folder) => {
      const profile = scratch("profile");
      allow(profile, new URL(baseURL).origin, folder);
      const context = await launch(profile, { baseURL });
      await answerWithDropped(context);
      open.push({ context, profile });
      const page = context.pages()[0];
      page.kill = () => killBrowser(profile);
      return page;
    });
    for (const { context, profile } of open) {
      // One that was killed is closed already.
      await context.close().catch(() => {});
      discard(profile);
    }
  },
});

// The disk is synced for every file.
test.describe.configure({ timeout: 360_000 });

let place;
let model;
let expected;
test.beforeAll(() => {
  place = scratch("granted");
  model = join(place, "model");
  mkdirSync(model);
  const tensors = layers(32, 1024, 512);
  writeTensors(join(model, "model.safetensors"), { tensors });
  writeFileSync(join(model, "config.json"), JSON.stringify({ model_type: "llama" }));
  const into = join(place, "expected");
  const { status, stderr } = spawnSync(process.env.QUANTSCOPE_CLI, ["convert", model, "-o", into, "--to", "nvfp4", "--shard-size", SHARD], { encoding: "utf8" });
  if (status !== 0) throw new Error(`quantscope convert ended with ${status}: ${stderr}`);
  expected = hashes(into);
  expect(Object.keys(expected).length).toBeGreaterThan(2);
});
test.afterAll(() => discard(place));

/** A new folder, for which a browser has the permission of the one around it. */
function target(name) {
  const around = join(place, name);
  const folder = join(around, "output");
  mkdirSync(folder, { recursive: true });
  return { around, folder };
}

async function ready(page, folder) {
  await arrive(page, "cpu");
  await openFolder(page, model);
  await view(page, "convert");
  await page.getByText("Layout of the output").click();
  await part(page, "convert-shard").fill(SHARD);
  await expect(part(page, "plan-run-into")).toBeEnabled();
  await drop(page, folder);
}

/** How many weight files a conversion into a folder has finished, as its journal says. */
function finished(folder) {
  const journal = namesIn(folder).find((name) => name.endsWith(".journal"));
  return journal ? readFileSync(join(folder, journal), "utf8").split("\n").length - 2 : 0;
}

const someAreFinished = (folder) => expect.poll(() => finished(folder), { intervals: [20], timeout: 120_000 }).toBeGreaterThan(0);

/** Another browser goes on with what stands in the folder, to the bytes of the command line. */
async function goOn(page, folder) {
  await ready(page, folder);
  await part(page, "plan-run-into").click();
  await part(page, "stopped-continue").click();
  await expect(part(page, "convert-result")).toBeVisible({ timeout: 120_000 });
  expect(hashes(folder)).toEqual(expected);
  expect(namesIn(folder).filter((name) => name.startsWith(".")), "nothing but the files").toEqual([]);
}

test("a folder on the disk gets the bytes that the command line writes", async ({ visit }) => {
  const { around, folder } = target("whole");
  const page = await visit(around);
  await ready(page, folder);
  await part(page, "plan-run-into").click();
  await expect(part(page, "convert-result")).toContainText("in the folder output", { timeout: 120_000 });
  expect(hashes(folder)).toEqual(expected);
  expect(namesIn(folder).filter((name) => name.startsWith(".")), "nothing but the files").toEqual([]);
});

test("a permission that is taken back ends the conversion, and another browser goes on with it", async ({ visit }) => {
  const { around, folder } = target("taken-back");
  const page = await visit(around);
  await ready(page, folder);
  const revoke = await revoker(page.context(), new URL(page.url()).origin);
  await page.bringToFront();
  await part(page, "plan-run-into").click();
  await someAreFinished(folder);
  await revoke();
  await expect(page.getByRole("alert")).toContainText(/no longer lets this page write there/, { timeout: 120_000 });
  await expect(part(page, "convert-result")).toHaveCount(0);
  const left = namesIn(folder);
  expect(left.filter((name) => !name.startsWith(".quantscope-")), "nothing has a final name").toEqual([]);
  // What may not be written may not be removed either.
  expect(left.length).toBeGreaterThan(0);
  await goOn(await visit(around), folder);
});

test("a browser that is killed leaves nothing under a final name, and another goes on with it", async ({ visit }) => {
  test.skip(!existsSync("/proc/self/cmdline"), "processes are found in /proc");
  const { around, folder } = target("killed");
  const page = await visit(around);
  await ready(page, folder);
  await part(page, "plan-run-into").click();
  await someAreFinished(folder);
  page.kill();
  const left = namesIn(folder);
  expect(left.filter((name) => !name.startsWith(".quantscope-")), "nothing has a final name").toEqual([]);
  await goOn(await visit(around), folder);
});
