"""Cases of packing: stacks of experts, and MXFP4 experts cast to NVFP4."""

import numpy as np

from convert import Request, convert
from decode_modelopt import decode_modelopt
from elements import E2M1_VALUES, F32, pack_nibbles, split_blocks
from fixtures_case import Case, bf16, compressed_tensors, f32, weight
from quantize import Given, encode, nvfp4_of_mxfp4
from tensors import Tensor

LLAMA4 = {"model_type": "llama4_text", "hidden_size": 16, "intermediate_size": 32}
QWEN = {"model_type": "qwen3_moe", "hidden_size": 16, "moe_intermediate_size": 32}
GPT_OSS = {"model_type": "gpt_oss", "hidden_size": 32, "intermediate_size": 32}
STACKED = ("nvfp4", "nvfp4-static", "nvfp4-mse", "nvfp4-four-over-six", "w4a16-nvfp4", "fp8")


def cases(rng):
    """All of them."""
    return [
        *_stacks_kept(rng),
        *_stacks_expanded(rng),
        *_casts(rng),
        *_reciprocals(rng),
        *_one_block(rng),
        *_casts_of_rows(rng),
    ]


def _stacks_kept(rng):
    """Parameters [E, in, out] of all experts."""
    experts = "model.layers.0.feed_forward.experts"
    source = {
        f"{experts}.gate_up_proj": bf16(weight(rng, 2, 16, 64)),
        f"{experts}.down_proj": bf16(weight(rng, 2, 32, 16) * 3),
    }
    calibration = {
        f"{experts}.gate_up_proj_input_quantizer": 2.8125,
        f"{experts}.down_proj_input_quantizer": 1.6953125,
    }
    for scheme in STACKED:
        packed = convert(source, LLAMA4, Request(scheme, calibration=calibration))
        yield Case(
            name=f"bmm/{scheme.replace('-', '_')}",
            note="a scale for each expert" if scheme == "fp8" else "packed along in, stored turned back",
            packed=packed,
            source=source,
            config=LLAMA4,
            convert={"to": scheme, "calibration": calibration},
        )


def _stacks_expanded(rng):
    experts = "model.layers.0.mlp.experts"
    source = {
        f"{experts}.gate_up_proj": bf16(weight(rng, 2, 64, 16)),
        f"{experts}.down_proj": bf16(weight(rng, 2, 16, 32) * 2),
        "model.layers.0.mlp.gate.weight": bf16(weight(rng, 2, 16)),
    }
    for scheme in ("nvfp4-static", "nvfp4-mse", "nvfp4-four-over-six", "fp8", "fp8-channel"):
        yield Case(
            name=f"experts/{scheme.replace('-', '_')}",
            note="a stack [E, 2 I, H] becomes single experts; gate and up share their maximum",
            packed=convert(source, QWEN, Request(scheme)),
            source=source,
            config=QWEN,
            convert={"to": scheme},
        )


def _mxfp4_stack(rng, experts, out, columns, powers):
    codes = rng.integers(0, 16, (experts, out, columns)).astype(np.uint8)
    codes[0, 0, :32] = 0
    exponents = (127 + rng.choice(powers, (experts, out, columns // 32))).astype(np.uint8)
    blocks = pack_nibbles(codes).reshape(experts, out, columns // 32, 16)
    values = split_blocks(E2M1_VALUES[codes], 32) * np.exp2(exponents.astype(np.float64) - 127)[..., None]
    return codes, exponents, blocks, values.astype(F32).reshape(codes.shape)


def _casts(rng):
    """MXFP4 experts read as they are, and cast to NVFP4 where every power is in reach, and where one is not."""
    experts = "model.layers.0.mlp.experts"
    config = {**GPT_OSS, "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}}
    for name, powers in (("", np.arange(-12, -3)), ("_far", np.array([-30, -24, -12, -4]))):
        stored, meant, packed = {}, {}, {}
        for parameter, out, columns in (("gate_up_proj", 64, 32), ("down_proj", 32, 32)):
            codes, exponents, blocks, values = _mxfp4_stack(rng, 2, out, columns, powers)
            stem = f"{experts}.{parameter}"
            bias = {f"{stem}_bias": bf16(rng.standard_normal((2, out)))}
            stored |= {f"{stem}_blocks": Tensor("U8", blocks), f"{stem}_scales": Tensor("U8", exponents), **bias}
            meant[stem] = f32(np.ascontiguousarray(values.swapaxes(1, 2)))
            cast = nvfp4_of_mxfp4(codes.reshape(-1, columns), exponents.reshape(2 * out, -1))
            for part, tensor in cast.items():
                tensor_name = stem if part == "weight" else f"{stem}_{part}"
                if part == "weight_scale_2":
                    packed[tensor_name] = tensor
                    continue
                turned = tensor.values.reshape(2, out, -1).swapaxes(1, 2)
                packed[tensor_name] = Tensor(tensor.dtype, np.ascontiguousarray(turned))
            packed |= bias
        if not name:
            yield Case(
                name="gpt_oss/mxfp4",
                note="blocks of 16 bytes, low nibble first; the meaning is the parameter [E, in, out]",
                packed=stored,
                dequantized=meant,
                config=config,
            )
        yield Case(
            name=f"gpt_oss/to_nvfp4{name}",
            note="the cast that keeps every value as long as powers of two lie within 2^17 of the largest",
            packed=packed,
            source=stored,
            config=config,
            convert={"to": "nvfp4"},
        )


def _reciprocals(rng):
    """NVFP4 between ModelOpt's names, a multiplier, and those of compressed-tensors, its reciprocal as divisor."""
    stored = encode("nvfp4", bf16(weight(rng, 6, 64)), Given(input_amax=2.53125))
    inverse = {part: f32([F32(1) / stored[part].values]) for part in ("weight_scale_2", "input_scale")}
    plain = {"linear.bias": bf16(rng.standard_normal(6))}
    modelopt = {**plain, **{f"linear.{part}": tensor for part, tensor in stored.items()}}
    compressed = {
        **plain,
        "linear.weight_packed": stored["weight"],
        "linear.weight_scale": stored["weight_scale"],
        "linear.weight_global_scale": inverse["weight_scale_2"],
        "linear.input_global_scale": inverse["input_scale"],
    }
    yield Case(
        name="ct/nvfp4_to_ct_nvfp4",
        note="codes and block scales stay; global scales are inverted",
        packed=compressed,
        source=modelopt,
        convert={"to": "ct-nvfp4"},
    )
    back = {
        **modelopt,
        "linear.weight_scale_2": f32((F32(1) / inverse["weight_scale_2"].values).reshape(())),
        "linear.input_scale": f32((F32(1) / inverse["input_scale"].values).reshape(())),
    }
    weights = {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16, "symmetric": True}
    yield Case(
        name="ct/ct_nvfp4_to_nvfp4",
        note="codes and block scales stay; global scales are inverted",
        packed=back,
        source=compressed,
        config=compressed_tensors("nvfp4-pack-quantized", **weights),
        convert={"to": "nvfp4"},
    )


def _one_block(rng):
    """A weight of a single block: its calibrated maximum looks like that of a tensor."""
    source = {"linear.weight": bf16(rng.standard_normal((1, 16)))}
    calibration = {"linear.weight_quantizer": [1.25], "linear.weight_quantizer._global_amax": 3.5}
    yield Case(
        name="static/one_block",
        note="a global maximum beside it tells that the single maximum is the block's",
        packed=convert(source, {}, Request("nvfp4", calibration=calibration)),
        source=source,
        convert={"to": "nvfp4", "calibration": calibration},
    )


def _casts_of_rows(rng):
    """ModelOpt's MXFP4 matrices cast to NVFP4; far powers of two force some blocks to be encoded anew."""
    for name, powers in (("", np.arange(-12, 5)), ("_far", np.array([-40, -22, -18, -4]))):
        codes, exponents, blocks, values = _mxfp4_stack(rng, 1, 6, 96, powers)
        # A block far down whose values are all zero, and one whose values NVFP4 has by chance.
        exponents[0, 1, 0], codes[0, 1, :32] = 0, 8
        values[0, 1, :32] = 0
        stored = {
            "m.proj.weight": Tensor("U8", pack_nibbles(codes)[0]),
            "m.proj.weight_scale": Tensor("U8", exponents[0]),
            "m.norm.weight": bf16(np.ones(96)),
        }
        cast = nvfp4_of_mxfp4(codes[0], exponents[0])
        again = decode_modelopt({f"m.{part}": tensor for part, tensor in cast.items()})["m.weight"]
        inexact = int((split_blocks(again, 16) != split_blocks(values[0], 16)).any(-1).sum())
        yield Case(
            name=f"modelopt/mxfp4_to_nvfp4{name}",
            note="two blocks of 16 for each of 32; those out of reach are encoded by their own largest value",
            packed={"m.norm.weight": stored["m.norm.weight"], **{f"m.proj.{p}": t for p, t in cast.items()}},
            source=stored,
            config={"quantization_config": {"quant_method": "modelopt", "quant_algo": "mxfp4", "ignore": []}},
            convert={"to": "nvfp4", "inexact_blocks": inexact},
        )
