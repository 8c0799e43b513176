// From a telephone to a screen of 3,840 pixels nothing is cut off sideways, and nothing moves for who does not want it.
import { expect, test } from "../lib/fixtures.mjs";
import { arrive, openSample, part, view } from "../lib/page.mjs";

const WIDTHS = [[390, 844], [768, 1024], [1280, 720], [1920, 1080], [3840, 2160]];
const VIEWS = ["overview", "layers", "findings", "ties", "preview", "compare", "convert"];

/** By how much the page is wider than the window, and where its words end. */
const overhang = (page) => page.evaluate(() => {
  const root = document.scrollingElement;
  const words = [...document.querySelectorAll("main h1, main h2, main p, main button, main select")];
  const ends = words.map((element) => element.getBoundingClientRect()).filter(({ width }) => width > 0).map(({ right }) => right);
  return { root: root.scrollWidth - root.clientWidth, words: Math.max(0, ...ends) - root.clientWidth };
});

for (const [width, height] of WIDTHS) {
  test(`every view fits into ${width} px`, async ({ page }) => {
    await page.setViewportSize({ width, height });
    await arrive(page, "cpu");
    expect(await overhang(page), "arrival").toEqual({ root: 0, words: expect.any(Number) });
    await openSample(page, "faults");
    for (const name of VIEWS) {
      await view(page, name);
      const { root, words } = await overhang(page);
      expect(root, name).toBe(0);
      expect(words, `words of ${name}`).toBeLessThanOrEqual(0);
    }
    // A row of the list takes the width that is there.
    await view(page, "layers");
    const list = await part(page, "layer-list").boundingBox();
    expect(list.width).toBeGreaterThan(width > 760 ? 500 : 350);
    await part(page, "list-flat").click();
    await page.locator('[data-testid="layer-row"][data-name]').first().click();
    expect((await overhang(page)).root, "with a layer's panel").toBe(0);
  });
}

test("who asks for less motion sees none, who does not sees the sheet come in", async ({ page }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  for (const [reducedMotion, name] of [["no-preference", "sheet"], ["reduce", "none"]]) {
    await page.emulateMedia({ reducedMotion });
    await arrive(page, "cpu");
    await openSample(page, "faults");
    await view(page, "layers");
    await part(page, "list-flat").click();
    await page.locator('[data-testid="layer-row"][data-name]').first().click();
    const panel = part(page, "layer-panel");
    await expect(panel).toBeVisible();
    expect(await panel.evaluate((element) => getComputedStyle(element).animationName)).toBe(name);
  }
});
