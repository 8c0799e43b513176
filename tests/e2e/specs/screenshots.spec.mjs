// Takes the pictures of the documentation; runs only when it is told where to put them.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "../lib/fixtures.mjs";
import { golden } from "../lib/folders.mjs";
import { readTensors } from "../lib/safetensors.mjs";
import { arrive, convert, openFolder, openSample, part, verify, view } from "../lib/page.mjs";

const folder = process.env.QUANTSCOPE_SCREENSHOTS;

/** Activation maxima for every convolution of the sample, as a calibration run leaves them. */
function calibration() {
  const { tensors } = readTensors(fileURLToPath(new URL("../../../web/samples/convert/diffusion_pytorch_model.safetensors", import.meta.url)));
  const layers = [...tensors].filter(([, { shape }]) => shape.length === 5).map(([name]) => name.replace(/\.weight$/, ""));
  const maxima = Object.fromEntries(layers.map((name) => [`${name}.input_quantizer`, { amax: 0.25 }]));
  return { name: "calibration.json", mimeType: "application/json", buffer: Buffer.from(JSON.stringify(maxima)) };
}

const sizes = { 1280: { width: 1280, height: 800 }, 390: { width: 390, height: 844 } };

for (const colorScheme of ["light", "dark"]) {
  for (const [width, viewport] of Object.entries(sizes)) {
    test.describe(`${colorScheme} ${width}`, () => {
      test.use({ colorScheme, viewport });

      const shoot = async (page, name) => {
        mkdirSync(folder, { recursive: true });
        // A pointer that hovers over a row would be in the picture.
        await page.mouse.move(0, 0);
        await page.screenshot({ path: join(folder, `${name}-${colorScheme}-${width}.png`), animations: "disabled" });
      };

      test("arrival", async ({ page }) => {
        await arrive(page, "cpu");
        await shoot(page, "arrival");
      });

      test("sample with faults", async ({ page }) => {
        await arrive(page);
        await openSample(page, "faults");
        await verify(page);
        await view(page, "findings");
        await expect(part(page, "finding-group").first()).toBeVisible();
        await shoot(page, "findings");
        await view(page, "layers");
        await expect(part(page, "layer-row").first()).toBeVisible();
        await page.locator('[data-testid="layer-row"][data-name="decoder.conv_out"]').click();
        await expect(part(page, "layer-panel").getByText("First block")).toBeVisible();
        await shoot(page, "layers");
      });

      test("schemes tried on a layer", async ({ page }) => {
        await arrive(page, "cpu");
        await openFolder(page, golden("golden/_src/llama"));
        await view(page, "preview");
        await page.locator('[data-testid="lab-layer"][data-name$="up_proj"]').first().click();
        await expect(part(page, "lab-card")).toHaveCount(4);
        if (width === "390") await part(page, "lab-trial").evaluate((trial) => trial.scrollIntoView());
        await shoot(page, "preview");
      });

      test("an export beside its source", async ({ page }) => {
        await arrive(page, "cpu");
        await openSample(page, "sound");
        await view(page, "compare");
        await part(page, "second-sample").click();
        await part(page, "compare-run").click();
        await part(page, "sort-sqnr").click();
        await expect(part(page, "difference").first()).toBeVisible();
        await part(page, "difference").first().click();
        await expect(part(page, "difference-picture")).toBeVisible();
        await shoot(page, "compare");
      });

      test("conversion finished", async ({ page }) => {
        await arrive(page);
        await openSample(page, "convert");
        await convert(page, { exclude: "*conv_in*", packed: /[1-9]/, calibration: calibration() });
        await part(page, "convert-result").scrollIntoViewIfNeeded();
        await shoot(page, "converted");
      });
    });
  }
}
