// Copies of sound exports with one fault each, and the rule that names it.
import { truncateSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { copyOf, readJson, weightFile } from "./folders.mjs";
import { readTensors, writeTensors } from "./safetensors.mjs";

const VAE = "golden/e2e_wan_vae_nvfp4_conv3d/expected";
const SHARDED = "golden/e2e_llama_nvfp4_sharded/expected";

/** Rewrites the one weight file of a folder. */
function edit(folder, change) {
  const file = weightFile(folder);
  const weights = readTensors(file);
  change(weights.tensors);
  writeTensors(file, weights);
}

export const faults = [
  {
    title: "a quantizer's state left in the weights",
    of: VAE,
    rules: ["LK401"],
    make: (into) => edit(copyOf(VAE, into), (tensors) => {
      const amax = Buffer.alloc(4);
      amax.writeFloatLE(0.125);
      // In front: at the end, behind an odd number of bytes, it would be off its alignment too.
      const others = [...tensors];
      tensors.clear();
      tensors.set("decoder.conv_out.weight_quantizer._amax", { dtype: "F32", shape: [], bytes: amax });
      for (const [name, tensor] of others) tensors.set(name, tensor);
    }),
  },
  {
    title: "a layer without its global scale",
    of: VAE,
    rules: ["SC002"],
    make: (into) => edit(copyOf(VAE, into), (tensors) => tensors.delete("decoder.conv_out.weight_scale_2")),
  },
  {
    title: "block scales counted from the packed width",
    of: VAE,
    rules: ["SH501"],
    make: (into) => edit(copyOf(VAE, into), (tensors) => {
      const scale = tensors.get("quant_conv.weight_scale");
      const [rows, cols] = scale.shape;
      if (cols % 2 !== 0) throw new Error(`${cols} columns have no half`);
      tensors.set("quant_conv.weight_scale", {
        dtype: scale.dtype, shape: [rows, cols / 2], bytes: scale.bytes.subarray(0, scale.bytes.length / 2),
      });
    }),
  },
  {
    title: "a shard that ends early",
    of: SHARDED,
    rules: ["IX804"],
    make: (into) => {
      const file = join(copyOf(SHARDED, into), "model-00002-of-00003.safetensors");
      truncateSync(file, statSync(file).size - 100);
    },
  },
  {
    title: "an index entry that names the wrong shard",
    of: SHARDED,
    rules: ["IX802"],
    make: (into) => {
      const file = join(copyOf(SHARDED, into), "model.safetensors.index.json");
      const index = readJson(file);
      const [name] = Object.entries(index.weight_map).find(([, shard]) => shard.startsWith("model-00001"));
      index.weight_map[name] = "model-00003-of-00003.safetensors";
      writeFileSync(file, JSON.stringify(index, null, 2));
    },
  },
];
