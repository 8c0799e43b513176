// The page by its parts: what a user does, in the names the page gives its elements.
import { readFileSync } from "node:fs";
import { expect } from "./fixtures.mjs";

export const part = (page, name) => page.getByTestId(name);

/** Loads the page with nothing open. `engine` is `cpu`, `gpu` or nothing. */
export async function arrive(page, engine) {
  await page.goto(engine ? `/?engine=${engine}` : "/");
  await expect(part(page, "drop-zone")).toBeVisible();
}

/** Picks a folder as the button does, and waits until it is open. */
export async function openFolder(page, folder) {
  await part(page, "pick-folder").setInputFiles(folder);
  await opened(page);
}

export async function openFiles(page, files) {
  await part(page, "pick-files").setInputFiles(files);
  await opened(page);
}

export async function openSample(page, name) {
  await part(page, `sample-${name}`).click();
  await opened(page);
}

export const opened = (page) => expect(part(page, "band-verdict")).toBeVisible();

export async function view(page, name) {
  await part(page, `nav-${name}`).click();
  await expect(page).toHaveURL(new RegExp(`#/${name}`));
}

/** Reads every byte, and waits until the page says that it has, and on which engine. */
export async function verify(page, { engine = /./, timeout = 60_000 } = {}) {
  await part(page, "verify-button").click();
  await isVerified(page, timeout);
  await expect(part(page, "verify-button")).toHaveAttribute("title", engine);
}

export const isVerified = (page, timeout = 60_000) =>
  expect(part(page, "verify-button")).toHaveAttribute("title", /was read on/, { timeout });

/** Bytes that were read to open what is open. */
export async function bytesRead(page) {
  await view(page, "overview");
  const title = await part(page, "bytes-read").getAttribute("title");
  return Number(title.match(/^[\d,]+/)[0].replaceAll(",", ""));
}

/** Fills the recipe of a conversion, waits for its plan, runs it, and waits for its result. */
export async function convert(page, { exclude, calibration, dtype, packed }) {
  await view(page, "convert");
  await part(page, "convert-scheme").selectOption("nvfp4");
  await part(page, "convert-exclude").fill(exclude);
  if (dtype) await part(page, "convert-dtype").selectOption(dtype);
  if (calibration) {
    await part(page, "convert-calibration").setInputFiles(calibration);
    await expect(part(page, "calibration-state")).toContainText("entries");
  }
  await expect(part(page, "plan-packed-count")).toHaveText(packed);
  await part(page, "plan-run").click();
  await expect(part(page, "convert-result")).toBeVisible({ timeout: 60_000 });
}

/** Rule ids that Findings shows, sorted. */
export async function rules(page) {
  await view(page, "findings");
  const groups = part(page, "finding-group");
  // Findings are asked of the worker when the view opens: wait for them, or for the word that there are none.
  await expect(groups.or(part(page, "no-findings")).first()).toBeVisible();
  const found = await groups.evaluateAll((elements) => elements.map((element) => element.dataset.rule));
  return found.sort();
}

/** Saves a file of the conversion's result and answers its bytes. */
export async function save(page, name) {
  const button = page.locator(`[data-testid="save-file"][data-file="${name}"]`);
  const [download] = await Promise.all([page.waitForEvent("download"), button.click()]);
  return readFileSync(await download.path());
}

/** Keeps the long tasks of the main thread, in milliseconds, from now on. */
export async function watchLongTasks(page) {
  await page.evaluate(() => {
    window.longTasks = [];
    window.longTaskObserver = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) window.longTasks.push(entry.duration);
    });
    window.longTaskObserver.observe({ type: "longtask" });
  });
}

export const longTasks = (page) => page.evaluate(() => {
  for (const entry of window.longTaskObserver.takeRecords()) window.longTasks.push(entry.duration);
  return window.longTasks;
});

/** Presses Tab until the element with this name has the focus. */
export async function tabTo(page, name) {
  for (let step = 0; step < 80; step += 1) {
    await page.keyboard.press("Tab");
    if (await part(page, name).first().evaluate((element) => element.contains(document.activeElement))) return;
  }
  throw new Error(`${name} cannot be reached with Tab`);
}
