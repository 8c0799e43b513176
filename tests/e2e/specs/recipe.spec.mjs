// The recipe built by clicking, saved and loaded as TOML, and the plan that follows it.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "../lib/fixtures.mjs";
import { discard, golden, scratch } from "../lib/folders.mjs";
import { arrive, openFolder, part, view } from "../lib/page.mjs";
import { layers, weights } from "../lib/random.mjs";
import { writeTensors } from "../lib/safetensors.mjs";

const LLAMA = "golden/_src/llama";

const packed = (page, name) => page.locator(`[data-testid="plan-packed"][data-name="${name}"]`);
const kept = (page, name) => page.locator(`[data-testid="plan-kept"][data-name="${name}"]`);
const choose = (page, name) => page.locator(`[data-testid="plan-choose"][data-name="${name}"]`);

async function convertView(page) {
  await arrive(page, "cpu");
  await openFolder(page, golden(LLAMA));
  await view(page, "convert");
  await expect(part(page, "plan-packed").first()).toBeVisible();
}

async function addRule(page, pattern, scheme) {
  await part(page, "rule-pattern").fill(pattern);
  await part(page, "rule-scheme").selectOption(scheme);
  await part(page, "rule-add").click();
}

async function saveRecipe(page) {
  const [download] = await Promise.all([page.waitForEvent("download"), part(page, "recipe-save").click()]);
  return { name: download.suggestedFilename(), text: readFileSync(await download.path(), "utf8") };
}

test("by pattern, in order, and by layer", async ({ page }) => {
  await convertView(page);
  const names = await part(page, "plan-packed").evaluateAll((rows) => rows.map((row) => row.dataset.name));
  const attention = names.find((name) => name.endsWith("q_proj"));
  const gate = names.find((name) => name.endsWith("up_proj"));

  await addRule(page, "*.self_attn.*", "keep");
  await expect(kept(page, attention)).toBeVisible();
  await addRule(page, "*.q_proj", "fp8");
  await expect(part(page, "recipe-rule")).toHaveCount(2);
  await expect(kept(page, attention), "the first rule that matches counts").toBeVisible();
  await page.getByRole("button", { name: "Try *.q_proj earlier" }).click();
  await expect(packed(page, attention)).toContainText("fp8");
  await page.getByRole("button", { name: "Remove *.q_proj" }).click();
  await expect(kept(page, attention)).toBeVisible();

  await choose(page, gate).click();
  await part(page, "plan-becomes").selectOption("fp8-block");
  await expect(packed(page, gate)).toContainText("fp8-block");
  await choose(page, gate).click();
  await part(page, "plan-becomes").selectOption("keep");
  await expect(kept(page, gate)).toBeVisible();
  await choose(page, gate).click();
  await part(page, "plan-becomes").selectOption("");
  await expect(packed(page, gate)).toContainText("nvfp4");
});

test("by kind: what is not named is kept", async ({ page }) => {
  await convertView(page);
  await part(page, "convert-by-kind").check();
  const linear = page.locator('[data-testid="convert-kind"][data-kind="linear"]');
  await expect(linear).toHaveValue("nvfp4");
  await linear.selectOption("fp8");
  await expect(part(page, "plan-packed").first()).toContainText("fp8");
  await linear.selectOption("");
  await page.locator('[data-testid="convert-kind"][data-kind="embedding"]').selectOption("");
  await expect(part(page, "plan-packed")).toHaveCount(0);
});

test("saved as TOML and loaded again", async ({ page }) => {
  const folder = scratch("recipe");
  await convertView(page);
  await page.getByText("Layout of the output").click();
  await part(page, "convert-name").fill("my mixed/recipe");
  await part(page, "convert-shard").fill("5GB");
  await page.getByText("Ties", { exact: true }).last().click();
  await part(page, "convert-ties").selectOption("keep-input-scale");
  await part(page, "convert-scheme").selectOption("fp8");
  await part(page, "convert-dtype").selectOption("bf16");
  await part(page, "convert-exclude").fill("*lm_head*, *.k_proj");
  await addRule(page, "*.mlp.*", "nvfp4-mse");
  const { name, text } = await saveRecipe(page);
  expect(name).toBe("my-mixed-recipe.toml");
  for (const line of ['name = "my mixed/recipe"', 'default = "fp8"', 'dtype = "bf16"', 'match = "*.mlp.*"', 'scheme = "nvfp4-mse"',
    'policy = "keep-input-scale"', 'shard_size = "5GB"']) expect(text).toContain(line);

  const file = join(folder, name);
  writeFileSync(file, text);
  await page.reload();
  await openFolder(page, golden(LLAMA));
  await view(page, "convert");
  await part(page, "recipe-load").setInputFiles(file);
  await expect(part(page, "convert-scheme")).toHaveValue("fp8");
  await expect(part(page, "convert-exclude")).toHaveValue("*lm_head*, *.k_proj");
  await expect(part(page, "recipe-rule")).toContainText("*.mlp.*");
  expect((await saveRecipe(page)).text).toBe(text);

  writeFileSync(file, 'default = "nvfp4"\nunheard = 3\n');
  await part(page, "recipe-load").setInputFiles(file);
  await expect(page.getByRole("alert")).toContainText(/unheard/);
  await expect(part(page, "convert-scheme"), "the recipe stays as it was").toHaveValue("fp8");
  discard(folder);
});

test("what stands against a plan is told, and kept with one click", async ({ page }) => {
  const folder = join(scratch("refused"), "model");
  mkdirSync(folder);
  const tensors = layers(1, 64, 64);
  // No whole number of blocks in a row.
  tensors.set("model.odd.up_proj.weight", { dtype: "BF16", shape: [16, 40], bytes: weights(16 * 40, 9) });
  writeTensors(join(folder, "model.safetensors"), { tensors });
  await arrive(page, "cpu");
  await openFolder(page, folder);
  await view(page, "convert");
  const refused = page.locator('[data-testid="plan-refused"][data-name="model.odd.up_proj"]');
  await expect(refused).toContainText(/40/);
  await expect(part(page, "plan-run")).toBeDisabled();
  await part(page, "plan-keep-refused").click();
  await expect(refused).toHaveCount(0);
  await expect(part(page, "plan-run")).toBeEnabled();
  await expect(part(page, "plan-packed-count")).toHaveText("1");
  discard(join(folder, ".."));
});

test("with the keyboard alone", async ({ page }) => {
  await convertView(page);
  await part(page, "rule-pattern").focus();
  await page.keyboard.type("*.self_attn.*");
  await page.keyboard.press("Enter");
  await expect(part(page, "recipe-rule")).toContainText("keep");
  const row = part(page, "plan-choose").first();
  const name = await row.getAttribute("data-name");
  await row.focus();
  await page.keyboard.press("Enter");
  await expect(part(page, "plan-becomes")).toBeFocused();
  await part(page, "plan-becomes").selectOption("keep");
  await expect(kept(page, name)).toBeVisible();
});

test("names: presets, rules with their faults, joined groups, and all of it as TOML", async ({ page }) => {
  await convertView(page);
  const names = await part(page, "plan-packed").evaluateAll((rows) => rows.map((row) => row.dataset.name));
  const first = names.find((name) => name.endsWith("q_proj"));
  await page.getByText("Names", { exact: true }).click();
  await expect(part(page, "convert-rules"), "the model type's own rules are not edited").toHaveCount(0);

  await part(page, "convert-preset").selectOption("mixtral");
  await expect(part(page, "convert-rules")).toHaveValue(/block_sparse_moe/);
  const renamed = names.find((name) => name.endsWith(".up_proj")).replace(".mlp.", ".block_sparse_moe.");
  await expect(packed(page, renamed)).toBeVisible();

  // Each fault where it is made, and no plan meanwhile.
  for (const [rules, fault] of [
    ["{", /no JSON/],
    ['{"renames": [{"pattern": "(", "repl": ""}]}', /renames\[0\]\.pattern.*open group/],
    ['{"renames": [{"pattern": "a", "repl": "\\\\3"}]}', /renames\[0\]\.repl/],
    ['{"splits": [{"fused_suffix": 4}]}', /splits\[0\]\.fused_suffix/],
  ]) {
    await part(page, "convert-rules").fill(rules);
    await expect(part(page, "convert-rules-fault")).toContainText(fault);
    await expect(part(page, "convert-rules")).toHaveAttribute("aria-invalid", "true");
    await expect(part(page, "plan-run")).toHaveCount(0);
  }
  await part(page, "convert-preset").selectOption("own");
  await part(page, "convert-rules").fill('{"renames": [{"pattern": "^model\\\\.", "repl": "text."}]}');
  const own = first.replace(/^model\./, "text.");
  await expect(packed(page, own)).toBeVisible();
  await expect(part(page, "convert-rules-fault")).toHaveText("");

  await part(page, "convert-fuse").check();
  await expect(packed(page, own.replace("q_proj", "qkv_proj"))).toBeVisible();

  const { text } = await saveRecipe(page);
  expect(text).toMatch(/rename = .*text\./);
  expect(text).toContain("fuse = true");
  const place = scratch("names");
  const file = join(place, "names.toml");
  writeFileSync(file, text);
  await part(page, "convert-preset").selectOption("");
  await part(page, "convert-fuse").uncheck();
  await expect(packed(page, first)).toBeVisible();
  await part(page, "recipe-load").setInputFiles(file);
  await expect(packed(page, own.replace("q_proj", "qkv_proj"))).toBeVisible();
  await expect(part(page, "convert-preset")).toHaveValue("own");
  await expect(part(page, "convert-rules")).toHaveValue(/text\./);
  expect((await saveRecipe(page)).text).toBe(text);
  discard(place);
});
