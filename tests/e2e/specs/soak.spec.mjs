// Random checkpoints through one tab, over and over: opened, audited, tried, converted, opened again and audited. No
// error, and no growth of memory. QUANTSCOPE_SOAK_MINUTES says for how long; without it a few rounds are run.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startAgain } from "../lib/faults_injected.mjs";
import { expect, test } from "../lib/fixtures.mjs";
import { discard, scratch } from "../lib/folders.mjs";
import { pageMemory } from "../lib/measure.mjs";
import { arrive, isVerified, opened, part, verify, view } from "../lib/page.mjs";
import { weights } from "../lib/random.mjs";
import { writeTensors } from "../lib/safetensors.mjs";
import { line } from "../lib/trend.mjs";

const MINUTES = Number(process.env.QUANTSCOPE_SOAK_MINUTES ?? 0);
/** Rounds of a short run. */
const ROUNDS = 3;
/** The part of a run in which memory may grow: compiled code, caches, the size of the largest checkpoint. */
const WARM_UP = 0.2;
/** What a measure may grow by after that. */
const MOST = { heap: 2, wasm: 4, process: 24 };
const SCHEMES = ["nvfp4", "fp8", "mxfp8", "mxfp4", "int8"];
const MIB = 1 << 20;

let seed = Number(process.env.QUANTSCOPE_SOAK_SEED ?? 1);
/** A number below `end` (the generator of a linear congruence, its upper bits). */
const below = (end) => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 2 ** 32) * end);
};

function write(folder) {
  const tensors = new Map();
  const count = 1 + below(3);
  for (let layer = 0; layer < count; layer += 1) {
    for (const leaf of ["self_attn.q_proj", "mlp.up_proj"]) {
      const [rows, columns] = [128 * (1 + below(4)), 128 * (1 + below(4))];
      tensors.set(`model.layers.${layer}.${leaf}.weight`,
        { dtype: "BF16", shape: [rows, columns], bytes: weights(rows * columns, below(2 ** 31)) });
    }
    tensors.set(`model.layers.${layer}.input_layernorm.weight`, { dtype: "BF16", shape: [128], bytes: Buffer.alloc(256, 0x3f) });
  }
  writeTensors(join(folder, "model.safetensors"), { tensors });
  writeFileSync(join(folder, "config.json"), JSON.stringify({ model_type: "llama", torch_dtype: "bfloat16" }));
}

async function round(page, folder) {
  write(folder);
  const scheme = SCHEMES[below(SCHEMES.length)];
  await startAgain(page);
  await part(page, "pick-folder").setInputFiles(folder);
  await opened(page);
  await verify(page);
  await view(page, "preview");
  await part(page, "lab-layer").first().click();
  await expect(part(page, "lab-card").first()).toBeVisible({ timeout: 60_000 });
  await view(page, "convert");
  await part(page, "convert-scheme").selectOption(scheme);
  await expect(part(page, "plan-packed-count")).not.toHaveText("0");
  await expect(part(page, "plan-run")).toBeEnabled();
  await part(page, "plan-run").click();
  await expect(part(page, "convert-result")).toBeVisible({ timeout: 60_000 });
  const wasm = Number(await part(page, "worker-memory").getAttribute("data-bytes"));
  await part(page, "open-result").click();
  // The result is open, not its source.
  await expect(part(page, "verify-button")).not.toHaveAttribute("title", /was read on/);
  await part(page, "verify-button").click();
  await isVerified(page);
  await expect(part(page, "band-verdict")).not.toContainText(/error|not load/i);
  return { scheme, wasm };
}

test("random checkpoints go through one tab and nothing is kept", async ({ page, context }) => {
  test.setTimeout(MINUTES * 60_000 + 300_000);
  const folder = join(scratch("soak"), "random");
  mkdirSync(folder);
  const session = await context.newCDPSession(page);
  await session.send("Performance.enable");
  await arrive(page, "cpu");
  const began = Date.now();
  const samples = { heap: [], wasm: [], process: [] };
  let rounds = 0;
  let told = began;
  while (rounds < ROUNDS || Date.now() - began < MINUTES * 60_000) {
    const { scheme, wasm } = await round(page, folder);
    rounds += 1;
    await session.send("HeapProfiler.collectGarbage");
    const { metrics } = await session.send("Performance.getMetrics");
    const at = (Date.now() - began) / 1000;
    samples.heap.push([at, metrics.find(({ name }) => name === "JSHeapUsedSize").value / MIB]);
    samples.wasm.push([at, wasm / MIB]);
    samples.process.push([at, pageMemory() / MIB]);
    if (MINUTES > 0 && Date.now() - told > 60_000) {
      told = Date.now();
      const now = Object.entries(samples).map(([name, all]) => `${name} ${all.at(-1)[1].toFixed(1)} MiB`);
      console.log(`${at.toFixed(0)} s, ${rounds} rounds, ${now.join(", ")}, last: ${scheme}`);
    }
  }
  discard(join(folder, ".."));
  for (const [name, all] of Object.entries(samples)) {
    const found = line(all, WARM_UP);
    if (!found) continue;
    console.log(`${rounds} rounds: ${name} ${found.mean.toFixed(1)} MiB on average, growing by ${found.growth.toFixed(2)} MiB`);
    // A short run is warming up all the time.
    if (MINUTES > 0) expect(found.growth, `MiB that ${name} grew by`).toBeLessThan(MOST[name]);
  }
});

test("a line through samples finds growth", () => {
  const of = (value) => Array.from({ length: 100 }, (_, at) => [at, value(at)]);
  const noise = (at) => (at * 37) % 7;
  expect(Math.abs(line(of((at) => 100 + noise(at)), 0.2).growth)).toBeLessThan(2);
  expect(Math.abs(line(of((at) => 100 + noise(at) + at / 4), 0.2).growth - 20)).toBeLessThan(3);
  expect(line(of((at) => at).slice(0, 9), 0)).toBeNull();
});
