// Preview: schemes tried on a layer and on all of them, and the recipe that fits a budget, with the figures of the
// command line.
import { preview } from "../lib/cli.mjs";
import { expect, test } from "../lib/fixtures.mjs";
import { golden } from "../lib/folders.mjs";
import { arrive, openFolder, part, tabTo, view } from "../lib/page.mjs";

const source = golden("golden/_src/llama");
const layer = "model.layers.0.mlp.up_proj";
const schemes = ["nvfp4", "nvfp4-four-over-six", "fp8", "int8-wo"];

/** Decibels are logarithms, whose last bit differs between processors and browsers. */
const same = (shown, figure) => expect(Math.abs(Number(shown) - figure)).toBeLessThanOrEqual(Math.abs(figure) * 1e-12);
const card = (page, scheme) => page.locator(`[data-testid="lab-card"][data-scheme="${scheme}"]`);
const pick = (page, name) => page.locator(`[data-testid="lab-layer"][data-name="${name}"]`);

/** The figures of a card, exactly, by their words. */
const figures = (found) => found.evaluate((element) => Object.fromEntries(
  [...element.querySelectorAll("dt")].map((word) => [word.textContent, word.nextElementSibling.title.replace(/,| bytes?$/g, "")])));

async function openLab(page) {
  await arrive(page, "cpu");
  await openFolder(page, source);
  await view(page, "preview");
}

test("schemes side by side on a layer, as the command line has them", async ({ page }) => {
  const { preview: told } = preview(source, "--tensor", layer, "--to", schemes.join(","));
  await openLab(page);
  await part(page, "lab-find").fill("layers.0.mlp.up");
  await pick(page, layer).click();
  await expect(page).toHaveURL(new RegExp(`#/preview\\?layer=${layer}`));
  await expect(part(page, "lab-card")).toHaveCount(schemes.length);
  for (const trial of told.schemes) {
    const found = card(page, trial.scheme);
    same(await part(found, "lab-sqnr").getAttribute("title"), trial.sqnr_db);
    const shown = await figures(found);
    expect(Number(shown["bits per weight"])).toBe(trial.bits_per_weight);
    expect(Number(shown.size)).toBe(trial.bytes);
    expect(Number(shown["largest error"])).toBe(trial.max_abs);
    same(shown["mean error"], trial.mean_abs);
    expect(Number(shown.saturated)).toBe(trial.saturated);
    expect(Number(shown["become zero"])).toBe(trial.zeroed);
  }
  const best = told.schemes.reduce((a, b) => (b.sqnr_db > a.sqnr_db ? b : a));
  await expect(card(page, best.scheme)).toContainText("least loss");
  await expect(part(page, "lab-trial").getByText("least loss")).toHaveCount(1);
  // The pictures are drawn: errors on a canvas, values as bars.
  const inked = () => card(page, "nvfp4").locator("canvas").evaluate((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((value, index) => index % 4 === 3 && value > 200);
  });
  await expect.poll(inked).toBe(true);
  const levels = told.schemes[0].bins.filter((count) => count > 0).length;
  await expect(card(page, "nvfp4").locator("svg.overlay rect")).toHaveCount(levels);

  // One scheme less and another more: asked anew.
  const chip = (id) => page.locator(`[data-testid="lab-scheme"][data-id="${id}"]`);
  await chip("int8-wo").click();
  await expect(card(page, "int8-wo")).toHaveCount(0);
  await chip("mxfp4").click();
  const { preview: more } = preview(source, "--tensor", layer, "--to", "mxfp4");
  await expect(card(page, "mxfp4")).toBeVisible();
  same(await part(card(page, "mxfp4"), "lab-sqnr").getAttribute("title"), more.schemes[0].sqnr_db);
});

test("a scheme that cannot hold a layer says why", async ({ page }) => {
  await openLab(page);
  await pick(page, layer).click();
  // Groups of 128 do not go into rows of 64.
  const { preview: told } = preview(source, "--tensor", layer, "--to", "int4");
  expect(told.schemes[0].refused).not.toBeNull();
  await page.locator('[data-testid="lab-scheme"][data-id="int4"]').click();
  await expect(card(page, "int4")).toContainText("Not possible");
});

test("all layers, a budget, and the recipe in Convert", async ({ page }) => {
  const { layers } = preview(source, "--to", schemes.join(","));
  await openLab(page);
  await part(page, "lab-sweep").click();
  await expect(part(page, "lab-swept")).toContainText(`${layers.length} of ${layers.length} layers tried`);
  await expect(part(page, "lab-sweep")).toBeDisabled();
  const rows = part(page, "lab-row");
  await expect(rows).toHaveCount(layers.length);
  // The layer that loses most under any scheme comes first.
  const loss = ({ options }) => Math.max(...options.map(({ squared_error }) => squared_error));
  const ordered = [...layers].sort((a, b) => loss(b) - loss(a) || (a.name < b.name ? -1 : 1));
  expect(await rows.evaluateAll((found) => found.map(({ dataset }) => dataset.name))).toEqual(ordered.map(({ name }) => name));
  const shown = await rows.evaluateAll((found) => found.map((each) => [...each.querySelectorAll("td[data-scheme]")].map(({ dataset }) => ({ ...dataset }))));
  ordered.forEach(({ options }, at) => options.forEach((option, place) => {
    expect(shown[at][place].scheme).toBe(option.scheme);
    expect(Number(shown[at][place].bytes)).toBe(option.bytes);
    same(shown[at][place].db, option.sqnr_db);
  }));

  // The budget: what the command line proposes for the same bytes.
  const slider = part(page, "lab-budget");
  const [least, most] = [Number(await slider.getAttribute("min")), Number(await slider.getAttribute("max"))];
  for (const bytes of [least, Math.floor(least + (most - least) / 5), most]) {
    await slider.evaluate((input, bytes) => {
      input.value = String(bytes);
      input.dispatchEvent(new Event("input", { bubbles: true }));
    }, bytes);
    const { proposal } = preview(source, "--to", schemes.join(","), "--budget", `${bytes}B`);
    const size = part(page, "lab-proposal-size");
    await expect(size).toHaveAttribute("title", `${proposal.total_bytes.toLocaleString("en-US")} bytes`);
    expect(proposal.total_bytes).toBeLessThanOrEqual(bytes);
    same(await size.getAttribute("data-error"), proposal.mix.squared_error);
  }

  // A mixed recipe goes to Convert, whose plan has the bytes that were promised.
  const middle = Math.floor(least + (most - least) / 5);
  await slider.evaluate((input, bytes) => {
    input.value = String(bytes);
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }, middle);
  const { proposal } = preview(source, "--to", schemes.join(","), "--budget", `${middle}B`);
  expect(new Set(proposal.mix.choices.map(({ scheme }) => scheme)).size).toBeGreaterThan(1);
  await expect(part(page, "lab-proposal-size")).toHaveAttribute("title", `${proposal.total_bytes.toLocaleString("en-US")} bytes`);
  await part(page, "lab-use").click();
  await expect(page).toHaveURL(/#\/convert/);
  const after = page.locator(".plan .sizes b").nth(1);
  await expect(after).toHaveAttribute("title", `${proposal.total_bytes.toLocaleString("en-US")} bytes`);
  const planned = await part(page, "plan-packed").evaluateAll((found) => found.map(({ dataset }) => dataset.name));
  const chosen = proposal.mix.choices.filter(({ scheme }) => schemes.includes(scheme)).flatMap(({ layers }) => layers);
  expect(planned.sort()).toEqual(chosen.sort());
});

test("by keyboard alone: a layer, a scheme, the sweep, the budget, Convert", async ({ page }) => {
  await openLab(page);
  await tabTo(page, "lab-find");
  await page.keyboard.type("layers.1.mlp.up");
  await expect(part(page, "lab-layer")).toHaveCount(1);
  await tabTo(page, "lab-layer");
  await page.keyboard.press("Enter");
  await expect(part(page, "lab-card").first()).toBeVisible();
  await tabTo(page, "lab-sweep");
  await page.keyboard.press("Enter");
  await expect(part(page, "lab-proposal")).toBeVisible();
  await tabTo(page, "lab-budget");
  const before = await part(page, "lab-budget").getAttribute("aria-valuetext");
  await page.keyboard.press("End");
  await expect(part(page, "lab-budget")).not.toHaveAttribute("aria-valuetext", before);
  await page.keyboard.press("Home");
  await tabTo(page, "lab-use");
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/#\/convert/);
});

test("from a layer's panel: its schemes, and a conversion of it alone", async ({ page }) => {
  await arrive(page, "cpu");
  await openFolder(page, source);
  await page.evaluate((layer) => { location.hash = `#/layers?layer=${layer}`; }, layer);
  await part(page, "layer-preview").click();
  await expect(part(page, "lab-trial")).toHaveAttribute("data-layer", layer);
  await page.goBack();
  await part(page, "layer-convert").click();
  await expect(part(page, "convert-picked")).toHaveAttribute("data-name", layer);
  await expect(part(page, "plan-packed-count")).toHaveText("1");
  await expect(part(page, "plan-packed")).toHaveAttribute("data-name", layer);
  await part(page, "picked-becomes").selectOption("fp8");
  await expect(part(page, "plan-packed")).toContainText("bf16 → fp8");
  await part(page, "picked-done").click();
  await expect(part(page, "convert-picked")).toBeHidden();
  await expect(part(page, "plan-packed-count")).toHaveText("1");
});
