// Converting a Conv3d autoencoder gives the bytes that the reference implementation writes, on either engine.
import { writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "../lib/fixtures.mjs";
import { discard, golden, readJson, scratch, weightFile } from "../lib/folders.mjs";
import { arrive, convert, openFolder, part, save } from "../lib/page.mjs";
import { parseTensors, readTensors } from "../lib/safetensors.mjs";

const cases = [
  { name: "wan_vae", source: "golden/_src/wan_vae", result: "golden/e2e_wan_vae_nvfp4_conv3d", exclude: "*conv_in*" },
  { name: "wan22_residual", source: "golden-pr/vae/wan22_residual/source", result: "golden-pr/vae/wan22_residual", exclude: "" },
  ...["bf16", "f16", "f32", "f16_to_bf16", "f32_to_bf16"].map((kind) => ({
    name: `conv3d_${kind}`,
    source: `golden-pr/conv3d/conv3d_${kind}/source`,
    result: `golden-pr/conv3d/conv3d_${kind}`,
    exclude: "z_disabled",
    dtype: kind.endsWith("_to_bf16") ? "bf16" : undefined,
  })),
];

/** Maxima of the activations as the reference measured them, in the form that the page reads. */
function maxima(result) {
  const { activation_amax: named, calibrated_amax: plain } = readJson(join(golden(result), "case.json"));
  if (named) return named;
  const inputs = Object.entries(plain).filter(([name]) => name.endsWith(".input_quantizer._amax"));
  return Object.fromEntries(inputs.map(([name, amax]) => [name.replace(/\._amax$/, ""), { amax }]));
}

for (const engine of ["cpu", "gpu"]) {
  for (const { name, source, result, exclude, dtype } of cases) {
    test(`${name} on ${engine}`, async ({ page }) => {
      const folder = scratch("calibration");
      const calibration = join(folder, "calibration.json");
      writeFileSync(calibration, JSON.stringify(maxima(result)));
      const expected = join(golden(result), "expected");
      const wantedTensors = readTensors(weightFile(expected)).tensors;
      const packed = [...wantedTensors.keys()].filter((name) => name.endsWith(".weight_scale_2")).length;

      await arrive(page, engine);
      await openFolder(page, golden(source));
      await convert(page, { exclude, calibration, dtype, packed: String(packed) });
      await expect(part(page, "convert-result")).toContainText(engine === "gpu" ? /WebGPU/ : /on CPU/);
      if (engine === "gpu") await expect(part(page, "engine-pill")).toContainText("WebGPU");

      compareTensors(parseTensors(await save(page, basename(weightFile(expected)))).tensors, wantedTensors);
      const config = JSON.parse((await save(page, "config.json")).toString("utf8"));
      expect(config.quantization_config.producer.name).toBeTruthy();
      const wanted = readJson(join(expected, "config.json"));
      // The producer names the tool that wrote the file, which is not the reference.
      delete config.quantization_config.producer;
      delete wanted.quantization_config.producer;
      expect(config).toEqual(wanted);
      discard(folder);
    });
  }
}

/** Every tensor, byte for byte. */
function compareTensors(found, expected) {
  const names = [...expected.keys()].sort();
  expect([...found.keys()].sort()).toEqual(names);
  for (const name of names) {
    const [ours, theirs] = [found.get(name), expected.get(name)];
    expect({ dtype: ours.dtype, shape: ours.shape }, name).toEqual({ dtype: theirs.dtype, shape: theirs.shape });
    expect(Buffer.compare(ours.bytes, theirs.bytes), `bytes of ${name}`).toBe(0);
  }
}

test("the comparison notices one changed byte", () => {
  const { tensors } = readTensors(weightFile(join(golden("golden/e2e_wan_vae_nvfp4_conv3d"), "expected")));
  const changed = new Map(tensors);
  const [name, tensor] = [...tensors][0];
  const bytes = Buffer.from(tensor.bytes);
  bytes[0] ^= 1;
  changed.set(name, { ...tensor, bytes });
  compareTensors(tensors, tensors);
  expect(() => compareTensors(changed, tensors)).toThrow();
});
