// Opening a checkpoint and looking around does not wait for what reads and writes tensors: that part of the program is
// fetched when it is first wanted, and what happens if it cannot be is told.
import { copyFileSync, cpSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "../lib/fixtures.mjs";
import { discard, golden, scratch } from "../lib/folders.mjs";
import { openFolder, opened, part, verify, view } from "../lib/page.mjs";
import { serve } from "../server.mjs";

const dist = fileURLToPath(new URL("../../../dist", import.meta.url));
/** Of every kind of layout, of a model with experts, in several shards, tied, with faults. */
const LOOKED_AT = [
  "golden-pr/leaks", "golden/_src/wan_vae", "golden/e2e_mixtral_nvfp4", "golden/e2e_llama_nvfp4_sharded", "golden/e2e_t5_fp8",
  "golden/e2e_tied_encdec_nvfp4/expected", "golden/e2e_llama_mixed_nvfp4_fp8_pb", "golden/e2e_llama_int4_awq", "golden/e2e_llama_mxfp8",
  "golden-foreign/awq_gemm_4bit", "golden-foreign/comfy_nvfp4_48x64", "golden-foreign/mlx_affine_4bit_bf16", "golden-foreign/torchao_nvfp4",
];
const LATER = "worker_later.wasm";

/** The built page at a place of its own, in which the later part can be exchanged. */
async function served(work) {
  const folder = scratch("served");
  cpSync(dist, folder, { recursive: true });
  // Nothing is kept for use without a network: that would be asked for as well, as would what compute workers load.
  rmSync(join(folder, "sw.js"));
  const server = await serve(folder, 0);
  const asked = [];
  server.on("request", ({ url }) => asked.push(url));
  try {
    await work({ folder, asked, address: `http://127.0.0.1:${server.address().port}/?engine=cpu&workers=0` });
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    discard(folder);
  }
}

const wanted = (asked) => asked.filter((url) => url === `/${LATER}`).length;

test.use({ forgiven: /404|Failed to load|ServiceWorker|script resource/ });

test("opening and looking around need the first part alone, a layer's values the other", async ({ page }) => {
  await served(async ({ asked, address }) => {
    for (const from of LOOKED_AT) {
      await page.goto(address);
      await openFolder(page, golden(from));
      await expect(part(page, "band-verdict")).not.toBeEmpty();
      for (const name of ["findings", "ties", "layers"]) await view(page, name);
      await part(page, "layer-search").fill("*");
      await expect(part(page, "layer-row").first()).toBeVisible();
      await part(page, "layer-search").fill("");
    }
    await view(page, "overview");
    expect(wanted(asked), "asked for too early").toBe(0);
    await verify(page);
    expect(wanted(asked)).toBe(1);
  });
});

test.describe("the later part cannot be had", () => {
  for (const [why, spoil, told] of [
    ["it is not there", (file) => renameSync(file, `${file}.away`), /answered 404/],
    ["it is of another version", (file, folder) => {
      copyFileSync(file, `${file}.away`);
      copyFileSync(join(folder, "app_bg.wasm"), file);
    }, /newer version/],
  ]) {
    test(`${why}: the job says so, all else goes on, and the next try works`, async ({ page }) => {
      await served(async ({ folder, address }) => {
        const file = join(folder, LATER);
        spoil(file, folder);
        await page.goto(address);
        await openFolder(page, golden("golden/_src/wan_vae"));
        await part(page, "verify-button").click();
        await expect(page.getByRole("alert").filter({ hasText: told })).toBeVisible();
        await view(page, "layers");
        await expect(part(page, "layer-row").first()).toBeVisible();
        renameSync(`${file}.away`, file);
        await verify(page);
        await opened(page);
      });
    });
  }
});
