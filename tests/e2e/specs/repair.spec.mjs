// The findings as a list to work through: narrowed, asked of a runtime, mended as the page showed, and saved.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { expect, test } from "../lib/fixtures.mjs";
import { audit, rulesOf } from "../lib/cli.mjs";
import { faults } from "../lib/faults.mjs";
import { discard, golden, scratch, weightFile } from "../lib/folders.mjs";
import { arrive, openFolder, openSample, part, rules, save, verify, view } from "../lib/page.mjs";
import { parseTensors, readTensors } from "../lib/safetensors.mjs";

const leak = faults.find(({ rules: [rule] }) => rule === "LK401");

test("findings by severity, rule and layer, in the address", async ({ page }) => {
  await arrive(page, "cpu");
  await openSample(page, "faults");
  const all = await rules(page);
  expect(all.length).toBeGreaterThan(1);
  const shown = part(page, "finding-group");
  await part(page, "findings-rule").fill(all[0].toLowerCase());
  await expect(shown).toHaveCount(1);
  await expect(shown).toHaveAttribute("data-rule", all[0]);
  await expect(page).toHaveURL(new RegExp(all[0], "i"));
  await part(page, "findings-severity").selectOption("error");
  await expect.poll(() => shown.count()).toBeLessThan(all.length);
  await part(page, "findings-clear").click();
  await expect(shown).toHaveCount(all.length);
  await part(page, "findings-layer").fill("nothing is called this");
  await expect(shown).toHaveCount(0);
});

test("what a runtime would refuse, once it is asked about", async ({ page }) => {
  await arrive(page, "cpu");
  await openFolder(page, golden("golden/e2e_wan_vae_nvfp4_conv3d/expected"));
  const alone = await rules(page);
  const runtime = page.locator('[data-testid="audit-target"][data-target="vllm"]');
  await runtime.click();
  await expect(runtime).toHaveAttribute("aria-pressed", "true");
  await expect(part(page, "finding-group").filter({ hasText: "vLLM" }).first()).toBeVisible();
  await runtime.click();
  await expect(runtime).toHaveAttribute("aria-pressed", "false");
  await expect(part(page, "finding-group")).toHaveCount(alone.length);
});

test("a repair is shown before it runs, and leaves nothing of its rule", async ({ page }) => {
  const folder = scratch("leak");
  leak.make(folder);
  await arrive(page, "cpu");
  await openFolder(page, folder);
  await verify(page);
  await view(page, "findings");
  await part(page, "repair-plan").click();
  const change = part(page, "repair-change");
  await expect(change).toHaveCount(1);
  await expect(change).toHaveAttribute("data-rule", "LK401");
  await expect(change).toContainText("decoder.conv_out.weight_quantizer._amax");
  await part(page, "repair-run").click();
  await expect(part(page, "repair-result")).toBeVisible({ timeout: 60_000 });
  const name = basename(weightFile(folder));
  const bytes = await save(page, name);
  const [before, after] = [readTensors(weightFile(golden(leak.of))), parseTensors(bytes)];
  expect([...after.tensors.keys()].sort()).toEqual([...before.tensors.keys()].sort());
  for (const [tensor, { bytes: was }] of before.tensors) {
    expect(after.tensors.get(tensor).bytes.equals(was), tensor).toBe(true);
  }
  discard(folder);
});

test("the report in each of its forms", async ({ page }) => {
  const folder = scratch("report");
  leak.make(folder);
  await arrive(page, "cpu");
  await openFolder(page, folder);
  await verify(page);
  await view(page, "findings");
  const saved = async (form) => {
    const button = page.locator(`[data-testid="save-report"][data-form="${form}"]`);
    const [download] = await Promise.all([page.waitForEvent("download"), button.click()]);
    return readFileSync(await download.path(), "utf8");
  };
  const wanted = rulesOf(audit(folder));
  expect(rulesOf(JSON.parse(await saved("JSON")))).toEqual(wanted);
  const [run] = JSON.parse(await saved("SARIF")).runs;
  expect([...new Set(run.results.map(({ ruleId }) => ruleId))].sort()).toEqual(wanted);
  for (const form of ["HTML", "Markdown"]) {
    const text = await saved(form);
    for (const rule of wanted) expect(text, form).toContain(rule);
  }
  discard(folder);
});
