// What `cargo xtask full-size DIR` converts natively, converted in the page: the same bytes, and no worker's memory grows
// with the checkpoint. Takes minutes and gigabytes, so it is done only where QUANTSCOPE_FULL_SIZE names that folder.
import { spawnSync } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, launch, test } from "../lib/fixtures.mjs";
import { discard, scratch } from "../lib/folders.mjs";
import { arrive, openFolder, part, view } from "../lib/page.mjs";
import { allow, answerWithDropped, drop, namesIn } from "../lib/real.mjs";

const DIR = process.env.QUANTSCOPE_FULL_SIZE ?? "";
const MANIFEST = "quantscope.manifest.json";
/** What a worker may hold. */
const MEMORY_LIMIT = 256 * 1024 * 1024;

const bytesOf = (folder) => namesIn(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);

test("a checkpoint of full size becomes the bytes that the command line writes", async ({ baseURL }) => {
  test.skip(!DIR, "only where QUANTSCOPE_FULL_SIZE names the folder of `cargo xtask full-size`");
  test.setTimeout(3_600_000);
  const [source, native, around] = ["source", "output", "page"].map((name) => join(DIR, name));
  const folder = join(around, "output");
  discard(around);
  mkdirSync(folder, { recursive: true });
  const profile = scratch("profile");
  allow(profile, new URL(baseURL).origin, around);
  const context = await launch(profile, { baseURL });
  await answerWithDropped(context);
  const page = context.pages()[0];
  await arrive(page, "cpu");
  await openFolder(page, source);
  await view(page, "convert");
  await expect(part(page, "plan-run-into")).toBeEnabled();
  await drop(page, folder);
  const begun = Date.now();
  await part(page, "plan-run-into").click();
  await expect(part(page, "convert-result").or(page.getByRole("alert")).first()).toBeVisible({ timeout: 3_500_000 });
  const seconds = (Date.now() - begun) / 1000;
  await expect(part(page, "convert-result")).toContainText("in the folder output");
  const { bytes, workers } = await part(page, "worker-memory").evaluate((element) => element.dataset);
  console.log(`${(bytesOf(source) / 1e9).toFixed(1)} GB in ${seconds.toFixed(0)} s, ${workers} workers, at most ${(Number(bytes) / 2 ** 20).toFixed(1)} MiB each`);
  await context.close();
  discard(profile);

  expect(Number(bytes)).toBeLessThan(MEMORY_LIMIT);
  expect(namesIn(folder)).toEqual(namesIn(native));
  expect(namesIn(native).length).toBeGreaterThan(3);
  // The manifest tells where the source lies, which is another path in the page.
  for (const name of namesIn(native).filter((name) => name !== MANIFEST)) {
    const { status, stdout } = spawnSync("cmp", [join(folder, name), join(native, name)], { encoding: "utf8" });
    expect(status, stdout).toBe(0);
  }
  const { status, stderr } = spawnSync(process.env.QUANTSCOPE_CLI, ["verify", folder, "--against", source], { encoding: "utf8" });
  expect(status, stderr).toBe(0);
});
