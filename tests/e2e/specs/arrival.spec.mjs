// What index.html and remote.html hold is what the program draws: nothing moves when it takes over.
import { expect, test } from "../lib/fixtures.mjs";
import { arrive, part } from "../lib/page.mjs";

/** Every line of text in sight of the first screen, with where it stands. */
const lines = (page) => page.evaluate(() => {
  const found = [];
  document.querySelector("main").scrollTop = 0;
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim().replace(/\s+/g, " ");
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const { x, y, width, height } = range.getBoundingClientRect();
    if (text && width > 0 && walker.currentNode.parentElement.checkVisibility()) found.push([text, ...[x, y, width, height].map(Math.round)]);
  }
  for (const field of document.querySelectorAll("main input[type=text]")) {
    const { x, y, width, height } = field.getBoundingClientRect();
    found.push([field.placeholder, ...[x, y, width, height].map(Math.round)]);
  }
  return found;
});

test.use({ forgiven: /Failed to load resource|ERR_FAILED|TypeError/ });

for (const path of ["/", "/remote.html"]) {
  for (const width of [1280, 390]) {
    test(`${path} is drawn before the program is here, and stays where it is: ${width} px`, async ({ page }) => {
      await page.setViewportSize({ width, height: 900 });
      for (const visit of ["first", "second"]) {
        await page.goto(path);
        await expect(part(page, "drop-zone")).toBeVisible();
        if (visit === "second") await part(page, "guide-close").click();
        await expect(part(page, "guide")).toBeVisible({ visible: visit === "first" });
        const drawn = await lines(page);
        expect(drawn.length).toBeGreaterThan(visit === "first" ? 25 : 15);
        await page.evaluate(async () => (await navigator.serviceWorker.getRegistration())?.unregister());
        await page.route("**/app_bg.wasm", (route) => route.abort());
        await page.goto(path);
        await expect(page.locator("main[aria-busy] h1")).toBeVisible();
        await expect(part(page, "drop-zone")).toHaveCount(0);
        expect(await lines(page)).toEqual(drawn);
        await page.unroute("**/app_bg.wasm");
      }
    });
  }
}

test("a theme that was chosen is there before the program is", async ({ page }) => {
  await page.emulateMedia({ colorScheme: "light" });
  await arrive(page);
  await part(page, "theme-toggle").click();
  await part(page, "theme-toggle").click();
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await paper();
  await page.evaluate(async () => (await navigator.serviceWorker.getRegistration())?.unregister());
  await page.route("**/app_bg.wasm", (route) => route.abort());
  await page.goto("/");
  await expect(part(page, "drop-zone")).toHaveCount(0);
  expect(await paper()).toBe(dark);
  await page.evaluate(() => localStorage.clear());
  await page.goto("/");
  expect(await paper(), "the system is light").not.toBe(dark);
});
