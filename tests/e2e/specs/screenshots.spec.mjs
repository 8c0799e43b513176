// Takes the pictures of the documentation; runs only when it is told where to put them.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "../lib/fixtures.mjs";
import { arrive, convert, openSample, part, verify, view } from "../lib/page.mjs";

const folder = process.env.QUANTSCOPE_SCREENSHOTS;
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
        await shoot(page, "overview");
        await view(page, "findings");
        await expect(part(page, "finding-group").first()).toBeVisible();
        await shoot(page, "findings");
        await view(page, "layers");
        await expect(part(page, "layer-row").first()).toBeVisible();
        if (width === "1280") await openPanel(page);
        await shoot(page, "layers");
        if (width === "390") {
          await openPanel(page);
          await shoot(page, "panel");
        }
      });

      test("conversion finished", async ({ page }) => {
        await arrive(page);
        await openSample(page, "convert");
        await convert(page, { exclude: "*conv_in*", packed: /[1-9]/ });
        await shoot(page, "converted");
      });
    });
  }
}

async function openPanel(page) {
  await page.locator('[data-testid="layer-row"][data-name="decoder.conv_out"]').click();
  await expect(part(page, "layer-panel")).toBeVisible();
}
