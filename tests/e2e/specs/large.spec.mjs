// A shard past 4 GiB opens by its header alone.
import { join } from "node:path";
import { expect, test } from "../lib/fixtures.mjs";
import { discard, scratch } from "../lib/folders.mjs";
import { arrive, bytesRead, openFiles, part, view } from "../lib/page.mjs";
import { writeSparse } from "../lib/sparse.mjs";

test("a shard of 9 GB opens, and only its header is read", async ({ page }) => {
  const folder = scratch("large");
  const file = join(folder, "model.safetensors");
  const layers = Array.from({ length: 10 }, (_, index) => [`model.layers.${index}.mlp.up_proj.weight`, "BF16", [16384, 8192]]);
  // 6 GiB first, so that every other tensor lies past 4 GiB.
  const { headerLength, fileLength } = writeSparse(file, [["model.embed_tokens.weight", "BF16", [49152, 65536]], ...layers]);
  expect(fileLength).toBeGreaterThan(9e9);

  await arrive(page, "cpu");
  await openFiles(page, file);
  expect(await bytesRead(page)).toBe(headerLength);
  await view(page, "layers");
  await part(page, "list-flat").click();
  await expect(part(page, "layer-row")).toHaveCount(layers.length + 1);
  await page.locator('[data-testid="layer-row"][data-name="model.layers.9.mlp.up_proj"]').click();
  // The last tensor ends where the file does.
  await expect(part(page, "layer-panel")).toContainText(fileLength.toLocaleString("en-US"));
  expect(await bytesRead(page)).toBe(headerLength);
  discard(folder);
});
