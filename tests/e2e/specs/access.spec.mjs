// Everyone can use it: no serious fault that axe finds on any view in either theme, and a walk by keyboard alone.
import AxeBuilder from "@axe-core/playwright";
import { expect, test } from "../lib/fixtures.mjs";
import { arrive, isVerified, openSample, part, view } from "../lib/page.mjs";

async function noSeriousFaults(page, where) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const serious = violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).slice(0, 3).join(" | ")}`);
  expect(serious, where).toEqual([]);
}

for (const colorScheme of ["light", "dark"]) {
  test.describe(colorScheme, () => {
    test.use({ colorScheme });

    test("no serious fault on any view", async ({ page }) => {
      await arrive(page, "cpu");
      await noSeriousFaults(page, `arrival, ${colorScheme}`);
      await openSample(page, "faults");
      for (const name of ["overview", "layers", "findings", "ties", "convert"]) {
        await view(page, name);
        await noSeriousFaults(page, `${name}, ${colorScheme}`);
      }
      await view(page, "layers");
      await page.locator('[data-testid="layer-row"][data-name]').first().click();
      await expect(part(page, "layer-panel")).toBeVisible();
      await noSeriousFaults(page, `panel, ${colorScheme}`);
    });
  });
}

/** Presses Tab until the element with this name has the focus. */
async function tabTo(page, name) {
  for (let step = 0; step < 80; step += 1) {
    await page.keyboard.press("Tab");
    if (await part(page, name).first().evaluate((element) => element.contains(document.activeElement))) return;
  }
  throw new Error(`${name} cannot be reached with Tab`);
}

test("a walk by keyboard: open, look, search, verify", async ({ page }) => {
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
  await tabTo(page, "verify-button");
  await page.keyboard.press("Enter");
  await isVerified(page);
});
