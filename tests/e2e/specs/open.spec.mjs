// A checkpoint comes in: by sample, by folder, by files, by a real drop.
import { expect, test } from "../lib/fixtures.mjs";
import { golden } from "../lib/folders.mjs";
import { arrive, openFolder, openSample, opened, part, rules, verify, view } from "../lib/page.mjs";

test("the sound sample opens and is sound", async ({ page }) => {
  await arrive(page, "cpu");
  await openSample(page, "sound");
  await expect(part(page, "band-verdict")).toContainText(/sound/i);
  await verify(page);
  await expect(part(page, "band-verdict")).toContainText(/sound/i);
});

test("the faulty sample shows every planted fault", async ({ page }) => {
  await arrive(page, "cpu");
  await openSample(page, "faults");
  expect(await rules(page)).toEqual(expect.arrayContaining(["CF302", "LK401", "SC002", "SH501"]));
  await verify(page);
  expect(await rules(page)).toEqual(expect.arrayContaining(["CF302", "LK401", "SC002", "SH501", "SV101", "SV102", "TI702"]));
  await view(page, "ties");
  await expect(part(page, "tie-group").first()).toBeVisible();
});

test("the sample for conversion opens", async ({ page }) => {
  await arrive(page);
  await openSample(page, "convert");
  await view(page, "layers");
  await expect(part(page, "layer-row").first()).toBeVisible();
});

for (const path of ["golden/_src/wan_vae", "golden/e2e_wan_vae_nvfp4_conv3d/expected", "golden-pr/vae/wan22_residual/source"]) {
  test(`${path} opens as a folder`, async ({ page }) => {
    await arrive(page);
    await openFolder(page, golden(path));
    await view(page, "layers");
    await part(page, "layer-search").fill("decoder.conv_out");
    const row = page.locator('[data-testid="layer-row"][data-name="decoder.conv_out"]');
    await row.click();
    await expect(part(page, "layer-panel")).toContainText("decoder.conv_out");
    await expect(part(page, "layer-panel")).toContainText("weight");
  });
}

test("a folder dropped on the page opens", async ({ page, context }) => {
  await arrive(page);
  const box = await part(page, "drop-zone").boundingBox();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const devtools = await context.newCDPSession(page);
  const data = { items: [], files: [golden("golden/e2e_wan_vae_nvfp4_conv3d/expected")], dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"]) {
    await devtools.send("Input.dispatchDragEvent", { type, x, y, data });
  }
  await opened(page);
  await view(page, "layers");
  await expect(part(page, "layer-row").first()).toBeVisible();
});

test("a file that is no checkpoint is refused in words", async ({ page }) => {
  await arrive(page);
  await part(page, "pick-files").setInputFiles({ name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("x") });
  await expect(part(page, "error-box")).toContainText(/safetensors/);
});
