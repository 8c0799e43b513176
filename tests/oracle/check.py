#!/usr/bin/env python3
"""The encoders against every golden case: single layers, searches, stacks, convolutions, whole checkpoints.

Bytes are compared; NaN bytes of E4M3 whatever their sign. Blocks that a case lists as near ties may differ.
"""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

import tensors as files
from convert import Request, convert
from elements import F32, e2m1_nearest_even, e2m1_ties_down, e4m3_from_f32, f32_from_e4m3, f32_from_e8m0
from quantize import SCHEMES, Given, Refused, encode, encode_stack

DATA = Path(__file__).resolve().parent.parent / "data"
GOLDEN = DATA / "golden"
# The reference's internal names.
FORMATS = {
    "nvfp4": "nvfp4",
    "w4a16_nvfp4": "w4a16-nvfp4",
    "w4a8_nvfp4_fp8": "w4a8-nvfp4-fp8",
    "fp8": "fp8",
    "fp8_pc_pt": "fp8-channel",
    "fp8_pb_wo": "fp8-block-wo",
    "mxfp4": "mxfp4",
    "w4a8_mxfp4_fp8": "w4a8-mxfp4-fp8",
    "mxfp8": "mxfp8",
    "int8_sq": "int8",
    "int8_wo": "int8-wo",
    "int4_awq": "int4",
    "w4a8_awq": "w4a8-int4-fp8",
}
# Whole checkpoints: source, expected, scheme, and what else the request says.
FOLDERS = [
    ("golden/_src/llama", "golden/e2e_llama_nvfp4", "nvfp4", {}),
    ("golden/_src/llama", "golden/e2e_llama_nvfp4_kvfp8", "nvfp4", {}),
    ("golden/_src/llama_tieTrue", "golden/e2e_llama_nvfp4_tied_head", "nvfp4", {}),
    ("golden/_src/llama", "golden/e2e_llama_nvfp4_sharded", "nvfp4", {}),
    ("golden/_src/llama", "golden/e2e_llama_nvfp4_static_mse", "nvfp4-mse", {}),
    (
        "golden/_src/llama",
        "golden/e2e_llama_nvfp4_embed_quantized",
        "nvfp4",
        {"layers": [("model.embed_tokens", "w4a16-nvfp4")]},
    ),
    ("golden/_src/llama", "golden/e2e_llama_w4a16_nvfp4", "w4a16-nvfp4", {}),
    ("golden/_src/llama", "golden/e2e_llama_fp8", "fp8", {}),
    ("golden/_src/llama", "golden/e2e_llama_fp8_pb_wo", "fp8-block-wo", {}),
    ("golden/_src/llama_hidden136", "golden/e2e_llama_fp8_pb_w8a8", "fp8-block", {}),
    ("golden/_src/llama_hidden136", "golden/e2e_llama_fp8_pb_w8a8_nocalib", "fp8-block", {}),
    ("golden/_src/llama", "golden/e2e_llama_fp8_pc_pt", "fp8-channel", {}),
    ("golden/_src/llama", "golden/e2e_llama_int4", "int4", {"group_size": 32}),
    ("golden/_src/llama", "golden/e2e_llama_int8", "int8", {}),
    (
        "golden/_src/llama",
        "golden/e2e_llama_mixed_nvfp4_fp8",
        "nvfp4",
        {"layers": [("*self_attn*", "fp8"), ("*layers.1.mlp.down_proj", "keep")]},
    ),
    (
        "golden/_src/llama_hidden128",
        "golden/e2e_llama_mixed_nvfp4_fp8_pb",
        "nvfp4",
        {"layers": [("*self_attn*", "fp8-block")]},
    ),
    ("golden/_src/llama", "golden/e2e_llama_mxfp4", "mxfp4", {}),
    ("golden/_src/llama", "golden/e2e_llama_mxfp8", "mxfp8", {}),
    ("golden/_src/e2e_t5_fp8", "golden/e2e_t5_fp8", "fp8", {}),
    ("golden/_src/e2e_mixtral_nvfp4", "golden/e2e_mixtral_nvfp4", "nvfp4", {}),
    ("golden/_src/wan_vae", "golden/e2e_wan_vae_nvfp4_conv3d", "nvfp4", {"exclude": ["*conv_in*"]}),
    ("golden-pr/vae/wan21_all/source", "golden-pr/vae/wan21_all", "nvfp4", {}),
    ("golden-pr/vae/wan22_residual/source", "golden-pr/vae/wan22_residual", "nvfp4", {}),
    ("golden-pr/fp8/w8a8_mult128/source", "golden-pr/fp8/w8a8_mult128", "fp8-block", {}),
    ("golden-pr/fp8/w8a8_not_mult128/source", "golden-pr/fp8/w8a8_not_mult128", "fp8-block", {}),
    (
        "golden-pr/fp8/mixed_nvfp4_fp8pb/source",
        "golden-pr/fp8/mixed_nvfp4_fp8pb",
        "nvfp4",
        {"layers": [("*self_attn*", "fp8-block")]},
    ),
    ("golden-pr/fp8/w8a8_mult128/source", "golden-pr/fp8/weight_only_mult128", "fp8-block-wo", {}),
    *(
        (
            f"golden-pr/conv3d/conv3d_{name}/source",
            f"golden-pr/conv3d/conv3d_{name}",
            "nvfp4",
            {"exclude": ["z_disabled"], "export": "bf16" if name.endswith("to_bf16") else None},
        )
        for name in ("bf16", "f16", "f32", "f32_to_bf16", "f16_to_bf16")
    ),
    *(
        (f"golden-pr/conv3d/conv3d_seed_{name}/source", f"golden-pr/conv3d/conv3d_seed_{name}", "nvfp4", {})
        for name in ("grouped", "weight_only")
    ),
]


def same(found, expected):
    """Equal dtype, shape and bytes, the sign of E4M3 NaNs aside."""
    if found.dtype != expected.dtype or found.values.shape != expected.values.shape:
        return False
    a, b = (np.ascontiguousarray(t.values).reshape(-1).view(np.uint8) for t in (found, expected))
    if found.dtype == "F8_E4M3":
        a, b = (np.where(x & 0x7F == 0x7F, np.uint8(0x7F), x) for x in (a, b))
    return np.array_equal(a, b)


class Tally:
    """Tensors that agree, by family; and what does not."""

    def __init__(self):
        self.agreed, self.compared, self.problems = Counter(), Counter(), []

    def compare(self, family, case, found, expected):
        """Every tensor of a case."""
        for name in sorted({*found, *expected}):
            self.compared[family] += 1
            if name in found and name in expected and same(found[name], expected[name]):
                self.agreed[family] += 1
            else:
                reason = "differs" if name in found and name in expected else "is on one side only"
                self.problems.append(f"{case}: {name} {reason}")


def float_value(tensor):
    return None if tensor is None else F32(tensor.values)


def check_tables(tally):
    tables, _ = files.read(GOLDEN / "tables/numeric_tables.safetensors")
    values = {name: tensor.values for name, tensor in tables.items()}
    patterns = np.arange(65536, dtype=np.uint16)
    found = {
        "e2m1_code_nvfp4": e2m1_nearest_even(values["e2m1_ratio"]),
        "e2m1_code_mxfp4": e2m1_ties_down(values["e2m1_ratio"]),
        "e4m3_from_bf16": e4m3_from_f32(patterns.view(files.NUMPY_TYPES["BF16"]).astype(F32)),
        "e4m3_from_f16": e4m3_from_f32(patterns.view(np.float16).astype(F32)),
        "e4m3_from_f32_probe": e4m3_from_f32(values["f32_probe"]),
    }
    for name, codes in found.items():
        tally.compare("tables", "tables", {name: files.Tensor("F8_E4M3", codes)}, {
            name: files.Tensor("F8_E4M3", values[name])
        })
    for name, decoded in (
        ("f32_from_e4m3", f32_from_e4m3(np.arange(256, dtype=np.uint8))),
        ("e8m0_to_f32", f32_from_e8m0(np.arange(255))),
    ):
        expected = values[name][: decoded.size]
        tally.compared["tables"] += 1
        tally.agreed["tables"] += bool(np.array_equal(decoded, expected, equal_nan=True))


def schemes_of_layer(name, case, given):
    """The scheme of a layer case, and the ways to ask for it."""
    if name.startswith("nvfp4_static_mse"):
        return [("nvfp4-mse", Given(**{**given, "block_amax": None})), ("nvfp4-mse", Given(input_amax=given["input_amax"]))]
    if name.startswith("nvfp4_static_max"):
        return [("nvfp4-static", Given(**given)), ("nvfp4", Given(**given)), ("nvfp4-static", Given(input_amax=given["input_amax"]))]
    if name == "nvfp4_static_four_over_six":
        chosen = Given(**given)
        return [("nvfp4-four-over-six", chosen), ("nvfp4-four-over-six", Given(input_amax=given["input_amax"]))]
    size = case["hf_quant_config"]["quantization"].get("group_size") or 128
    return [(FORMATS[case["modelopt_format"]], Given(**given, group_size=size, export=export_of(case)))]


def export_of(case):
    return {"torch.bfloat16": "bf16", "torch.float16": "f16", "torch.float32": "f32"}[case["export_dtype"]]


def check_layers(tally):
    for folder in sorted(GOLDEN.iterdir()):
        if not (folder / "expected.safetensors").exists() or folder.name.startswith("pad_swizzle"):
            continue
        case = json.loads((folder / "case.json").read_text())
        source, _ = files.read(folder / "source.safetensors")
        expected, _ = files.read(folder / "expected.safetensors")
        expected = {name: tensor for name, tensor in expected.items() if not name.startswith("aux.")}
        if folder.name == "nvfp4_bmm_llama4_experts":
            check_stacks(tally, source, expected)
            continue
        facts = {
            "input_amax": float_value(source.get("given.input_amax")),
            "global_amax": float_value(source.get("given.global_amax")),
            "block_amax": source["given.block_amax"].values if "given.block_amax" in source else None,
        }
        (weight_name,) = (name for name in source if name.endswith(".weight"))
        module = weight_name.removesuffix(".weight")
        family = folder.name.split("_")[0]
        if family == "nvfp4" and "conv3d" in folder.name:
            ways = [("nvfp4", Given())]
        else:
            ways = schemes_of_layer(folder.name, case, facts)
        for scheme, given in ways:
            stored = encode(scheme, source[weight_name], given)
            found = {f"{module}.{part}": tensor for part, tensor in stored.items()}
            found |= {name: tensor for name, tensor in source.items() if name.endswith(".bias")}
            tally.compare(family, f"{folder.name} as {scheme}", found, expected)


def check_stacks(tally, source, expected):
    for name, weight in source.items():
        scale = expected[f"{name}_input_scale"].values
        amax = F32(scale) * F32(2688)
        stored = encode_stack("nvfp4", weight, Given(input_amax=amax))
        found = {name if part == "weight" else f"{name}_{part}": tensor for part, tensor in stored.items()}
        own = {key: tensor for key, tensor in expected.items() if key.startswith(name)}
        tally.compare("stacks", "nvfp4_bmm_llama4_experts", found, own)


def check_searches(tally):
    for folder in sorted((DATA / "golden-pr/static").glob("release_*")):
        source, _ = files.read(folder / "source/model.safetensors")
        expected, _ = files.read(folder / "expected/model.safetensors")
        calibrated, _ = files.read(folder / "calibration_result.safetensors")
        given = Given(
            block_amax=calibrated["per_block_amax"].values, global_amax=F32(calibrated["global_amax"].values)
        )
        ways = [("nvfp4-static", given)]
        if "mse" in folder.name and "multiplier" not in folder.name:
            ways += [("nvfp4-mse", Given(global_amax=given.global_amax)), ("nvfp4-mse", Given())]
        expected.pop("linear.input_scale", None)
        for scheme, facts in ways:
            stored = encode(scheme, source["linear.weight"], facts)
            found = {f"linear.{part}": tensor for part, tensor in stored.items()}
            tally.compare("searches", f"{folder.name} as {scheme}", found, expected)


def calibration_of(case):
    """Maxima of a case, under the names of the states."""
    found = {}
    for key, value in {**(case.get("activation_amax") or {}), **(case.get("calibrated_amax") or {})}.items():
        amax = value.get("amax") if isinstance(value, dict) else value
        if "weight_quantizer" not in key and amax is not None and not isinstance(amax, list):
            found[key.removesuffix("._amax")] = amax
    return found


def check_folders(tally):
    for source, folder, scheme, more in FOLDERS:
        case = json.loads((DATA / folder / "case.json").read_text())
        weights, _, config = files.read_folder(DATA / source)
        expected, _, _ = files.read_folder(DATA / folder / "expected")
        # Maxima of experts stand under the names that the model has in memory.
        calibration = {k.replace(".mlp.", ".block_sparse_moe.") if "mixtral" in source else k: amax
                       for k, amax in calibration_of(case).items()}  # fmt: skip
        if not any(key.endswith("input_quantizer") for key in calibration):
            expected = {key: t for key, t in expected.items() if not key.endswith(".input_scale")}
        found = convert(weights, config, Request(scheme, calibration=calibration, **more))
        tally.compare("checkpoints", folder, found, expected)


def check_made(tally):
    """The small cases of our own: that what is stored is still what the encoders give."""
    for path in sorted((DATA / "made").glob("*/*.json")):
        case = json.loads(path.read_text())
        if "convert" not in case or case["convert"]["to"] not in SCHEMES:
            continue
        source, _ = files.read(path.with_suffix(".source.safetensors"))
        if any(tensor.dtype == "U8" for tensor in source.values()):
            continue
        packed, _ = files.read(path.with_suffix(".packed.safetensors"))
        request = Request(case["convert"]["to"], calibration=case["convert"].get("calibration", {}))
        tally.compare("made", case["name"], convert(source, case["config"], request), packed)


def check_refusals(tally):
    odd = files.Tensor("F32", np.ones((3, 24), np.float32))
    for scheme in ("nvfp4", "nvfp4-mse", "w4a8-nvfp4-fp8", "mxfp4", "mxfp8", "int4"):
        tally.compared["refusals"] += 1
        try:
            encode(scheme, odd)
            tally.problems.append(f"{scheme} took a weight of shape [3, 24]")
        except Refused:
            tally.agreed["refusals"] += 1


def main():
    tally = Tally()
    for check in (check_tables, check_layers, check_searches, check_folders, check_made, check_refusals):
        check(tally)
    for problem in tally.problems:
        print(problem)
    for family in sorted(tally.compared):
        print(f"{family}: {tally.agreed[family]} of {tally.compared[family]}")
    return 0 if tally.agreed == tally.compared and not tally.problems else 1


if __name__ == "__main__":
    sys.exit(main())
