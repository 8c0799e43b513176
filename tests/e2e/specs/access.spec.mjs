// Everyone can use it: nothing that axe finds on any view, in either theme and width, and a walk by keyboard alone.
import AxeBuilder from "@axe-core/playwright";
import { expect, test } from "../lib/fixtures.mjs";
import { golden } from "../lib/folders.mjs";
import { arrive, isVerified, openSample, part, tabTo, verify, view } from "../lib/page.mjs";

async function noFaults(page, where) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const found = violations.map(({ id, impact, nodes }) =>
    `${impact} ${id}: ${nodes.map(({ html, failureSummary }) => `${html.slice(0, 160)} (${failureSummary.slice(0, 200)})`).slice(0, 3).join(" | ")}`);
  expect(found, where).toEqual([]);
}

const sizes = { 1280: { width: 1280, height: 800 }, 390: { width: 390, height: 844 } };

for (const colorScheme of ["light", "dark"]) {
  for (const [width, viewport] of Object.entries(sizes)) {
    test.describe(`${colorScheme}, ${width}`, () => {
      test.use({ colorScheme, viewport });

      test("axe finds nothing on any view", async ({ page }) => {
        test.setTimeout(240_000);
        await arrive(page, "cpu");
        await noFaults(page, "arrival");
        await part(page, "help-toggle").click();
        await expect(part(page, "help-sheet")).toBeVisible();
        await noFaults(page, "the sheet");
        await page.keyboard.press("Escape");
        await page.goto("/remote.html?engine=cpu");
        await expect(part(page, "address")).toBeVisible();
        await page.getByText("It needs a token").click();
        await noFaults(page, "addresses");
        await arrive(page, "cpu");
        await openSample(page, "faults");
        const views = await page.locator('[data-testid^="nav-"]').evaluateAll((items) => items.map(({ dataset }) => dataset.testid.slice(4)));
        for (const name of ["preview", "compare"]) expect(views).toContain(name);
        for (const name of views) {
          await view(page, name);
          await page.waitForTimeout(300);
          await noFaults(page, name);
        }
        await view(page, "layers");
        await page.locator('[data-testid="layer-row"][data-name]').first().click();
        await expect(part(page, "layer-panel")).toBeVisible();
        await page.waitForTimeout(300);
        await noFaults(page, "panel");
        await page.keyboard.press("Escape");
        await view(page, "preview");
        await part(page, "lab-layer").first().click();
        await expect(part(page, "lab-card").first()).toBeVisible();
        await part(page, "lab-sweep").click();
        await expect(part(page, "lab-proposal")).toBeVisible({ timeout: 60_000 });
        await noFaults(page, "preview with a layer and a budget");
        await view(page, "compare");
        await part(page, "second-folder").setInputFiles(golden("golden/_src/wan_vae"));
        await expect(part(page, "compare-sides")).toBeVisible();
        await noFaults(page, "two checkpoints");
        await part(page, "compare-run").click();
        await expect(part(page, "difference").first()).toBeVisible({ timeout: 60_000 });
        await noFaults(page, "differences");
        await part(page, "difference").first().click();
        await expect(part(page, "difference-state")).toBeVisible();
        await noFaults(page, "one difference");
        await page.keyboard.press("Escape");
        await verify(page);
        await view(page, "findings");
        await expect(part(page, "finding-group").first()).toBeVisible();
        await noFaults(page, "findings after verifying");
        await view(page, "ties");
        await noFaults(page, "ties after verifying");
      });
    });
  }
}

test("a walk by keyboard: open, look, search, try, compare, verify", async ({ page }) => {
  await arrive(page, "cpu");
  await tabTo(page, "sample-faults");
  await page.keyboard.press("Enter");
  await expect(part(page, "band-verdict")).toBeVisible();
  await tabTo(page, "nav-layers");
  await page.keyboard.press("Enter");
  await expect(part(page, "layer-list")).toBeVisible();
  await page.keyboard.press("/");
  await expect(part(page, "layer-search")).toBeFocused();
  await page.keyboard.type("quant_conv");
  await expect(part(page, "layer-row")).toHaveCount(2);
  await tabTo(page, "layer-list");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await expect(part(page, "layer-panel")).toContainText("quant_conv");
  await page.keyboard.press("Escape");
  await expect(part(page, "layer-panel")).toBeHidden();
  await tabTo(page, "nav-preview");
  await page.keyboard.press("Enter");
  await tabTo(page, "lab-layer");
  await page.keyboard.press("Enter");
  await expect(part(page, "lab-card").first()).toBeVisible();
  await tabTo(page, "nav-compare");
  await page.keyboard.press("Enter");
  await tabTo(page, "second-folder");
  await expect(part(page, "second-folder")).toBeFocused();
  await tabTo(page, "verify-button");
  await page.keyboard.press("Enter");
  await isVerified(page);
});
