"""Cases of reading the layouts of other projects, where their packages' own fixtures leave a variant out."""

import json

import ml_dtypes
import numpy as np

from decode_foreign import AWQ_ORDER
from elements import E2M1_VALUES, F32, f32_from_e4m3, pack_bits, pack_nibbles, split_blocks, tile_scales
from fixtures_case import Case, bf16, f16, f32, i32, scales
from tensors import Tensor

N, K = 16, 64


def cases(rng):
    """All of them."""
    return [*_gptq(rng), *_awq(rng), *_mlx(rng), *_torchao(rng), *_comfy(rng)]


def _gptq(rng):
    for name, bits, version, order, lowest in (
        ("gptq/3bit_act_order", 3, "gptq", True, 1),
        ("gptq/3bit_v2", 3, "gptq_v2", False, 0),
        ("gptq/4bit_v2_zero_0", 4, "gptq_v2", True, 0),
        # A zero of 0 stored as -1 by the whole word: it borrows from the field above.
        ("gptq/4bit_v1_zero_0", 4, "gptq", False, 0),
        ("gptq/8bit_act_order", 8, "gptq", True, 1),
    ):
        size, top = 16, 1 << bits
        codes = rng.integers(0, top, (K, N))
        zeros = rng.integers(lowest, top, (K // size, N))
        if name == "gptq/4bit_v1_zero_0":
            zeros[:, -1::-8] = top - 1  # the last field of a word has no neighbour to borrow from
            zeros[0, :2] = 0
        scale = f16(scales(rng, K // size, N))
        group = np.arange(K) // size
        if order:
            group = rng.permutation(group)
        if version == "gptq_v2":
            words = pack_bits(zeros, bits)
        elif bits == 3:
            words = pack_bits(zeros - 1, bits)
        else:
            ones = sum(1 << shift for shift in range(0, 32, bits))
            words = pack_bits(zeros, bits) - np.uint32(ones)
        values = (codes - zeros[group]).astype(F32) * scale.f32()[group]
        yield Case(
            name=name,
            note="scales[g, n] * (q - z), g = g_idx[k]",
            packed={
                "linear.qweight": i32(np.ascontiguousarray(pack_bits(codes.T, bits).T)),
                "linear.qzeros": i32(words),
                "linear.scales": scale,
                "linear.g_idx": Tensor("I32", group.astype(np.int32)),
            },
            dequantized={"linear.weight": f32(values.T)},
            config={"quantization_config": {
                "quant_method": "gptq", "bits": bits, "group_size": size, "sym": False, "desc_act": order,
                "checkpoint_format": version,
            }},
        )  # fmt: skip


def awq_words(columns):
    """[K, N] values as words of eight columns in AutoAWQ's order."""
    slots = columns.reshape(columns.shape[0], -1, 8)[..., list(AWQ_ORDER)]
    return i32(pack_bits(slots.reshape(columns.shape[0], -1), 4))


def _awq(rng):
    for name, size in (("awq/whole_column", -1), ("awq/group_16", 16)):
        groups = 1 if size == -1 else K // size
        codes, zeros = rng.integers(0, 16, (K, N)), rng.integers(0, 16, (groups, N))
        scale = f16(scales(rng, groups, N))
        group = np.arange(K) // (K // groups)
        values = (codes - zeros[group]).astype(F32) * scale.f32()[group]
        yield Case(
            name=name,
            note="scales[k / g, n] * (q - z)",
            packed={
                "linear.qweight": awq_words(codes),
                "linear.qzeros": awq_words(zeros),
                "linear.scales": scale,
            },
            dequantized={"linear.weight": f32(values.T)},
            config={"quantization_config": {
                "quant_method": "awq", "bits": 4, "group_size": size, "zero_point": True, "version": "gemm",
            }},
        )  # fmt: skip


def _affine(rng, bits, size):
    codes = rng.integers(0, 1 << bits, (4, K))
    scale, bias = f16(scales(rng, 4, K // size) * rng.choice([-1, 1], (4, K // size))), f16(scales(rng, 4, K // size))
    product = (split_blocks(codes.astype(F32), size) * scale.f32()[..., None]).astype(F32)
    values = (product + bias.f32()[..., None]).astype(F32).reshape(4, K)
    return {"weight": Tensor("U32", pack_bits(codes, bits)), "scales": scale, "biases": bias}, values


def _mlx(rng):
    tensors, values = _affine(rng, 5, 32)
    yield Case(
        name="mlx/affine_5bit",
        note="values cross words; scales of both signs",
        packed={f"linear.{part}": tensor for part, tensor in tensors.items()},
        dequantized={"linear.weight": f32(values)},
        config={"quantization": {"group_size": 32, "bits": 5, "mode": "affine"}},
    )
    codes = rng.integers(0, 16, (4, K)).astype(np.uint8)
    scale = rng.integers(0, 0x7F, (4, K // 16)).astype(np.uint8)
    values = split_blocks(E2M1_VALUES[codes], 16) * f32_from_e4m3(scale)[..., None]
    yield Case(
        name="mlx/nvfp4",
        note="scales hold E4M3 bits as U8; there is no global scale",
        packed={"linear.weight": Tensor("U32", pack_bits(codes, 4)), "linear.scales": Tensor("U8", scale)},
        dequantized={"linear.weight": f32(values.reshape(4, K))},
        config={"quantization": {"group_size": 16, "bits": 4, "mode": "nvfp4"}},
    )
    four, four_values = _affine(rng, 4, 64)
    eight, eight_values = _affine(rng, 8, 32)
    plain = bf16(rng.standard_normal((4, K)))
    own = {"model.up": {"group_size": 32, "bits": 8}, "model.kept": False}
    yield Case(
        name="mlx/mixed",
        note="modules with entries of their own, one of them not quantized",
        packed={
            **{f"model.down.{part}": tensor for part, tensor in four.items()},
            **{f"model.up.{part}": tensor for part, tensor in eight.items()},
            "model.kept.weight": plain,
        },
        dequantized={"model.down.weight": f32(four_values), "model.up.weight": f32(eight_values)},
        config={"quantization": {"group_size": 64, "bits": 4, **own}},
    )


def torchao_metadata(kind, names, **facts):
    """The header of one quantized tensor `0.weight`."""
    data = {"dtype": {"_type": "torch.dtype", "_data": "bfloat16"}, **facts}
    description = {"_type": kind, "_data": data, "_tensor_data_names": names}
    return {"0.weight": json.dumps(description), "tensor_names": '["0.weight"]', "format": "pt"}


def _rounded(values):
    return {"0.weight": f32(values.astype(ml_dtypes.bfloat16).astype(F32))}


def _torchao(rng):
    codes = rng.integers(-128, 128, (N, K)).astype(np.int8)
    scale, zero = scales(rng, N, 1), rng.integers(-100, 100, (N, 1)).astype(np.int8)
    yield Case(
        name="torchao/int8_asymmetric",
        note="(q - zero_point) * scale, rounded to the original type",
        packed={
            "0._weight_qdata": Tensor("I8", codes),
            "0._weight_scale": f32(scale),
            "0._weight_zero_point": Tensor("I8", zero),
        },
        dequantized=_rounded((codes.astype(F32) - zero.astype(F32)) * scale),
        metadata=torchao_metadata("Int8Tensor", ["zero_point", "qdata", "scale"], block_size=[1, K]),
    )
    bytes_ = rng.integers(0, 0x7F, (N, K)).astype(np.uint8) | (rng.integers(0, 2, (N, K)).astype(np.uint8) << 7)
    whole = scales(rng, 1, 1)
    yield Case(
        name="torchao/float8_tensor",
        note="one scale for the whole tensor",
        packed={"0._weight_qdata": Tensor("F8_E4M3", bytes_), "0._weight_scale": f32(whole)},
        dequantized=_rounded(f32_from_e4m3(bytes_) * whole),
        metadata=torchao_metadata("Float8Tensor", ["qdata", "scale"], block_size=[N, K]),
    )
    exponents = rng.integers(110, 130, (N, K // 32)).astype(np.uint8)
    powers = np.exp2(exponents.astype(np.float64) - 127).astype(F32)
    mx_facts = {"block_size": 32, "is_swizzled_scales": False, "orig_dtype": _dtype("bfloat16")}
    yield Case(
        name="torchao/mxfp8",
        note="E4M3 elements, E8M0 scales of their own dtype",
        packed={"0._weight_qdata": Tensor("F8_E4M3", bytes_), "0._weight_scale": Tensor("F8_E8M0", exponents)},
        dequantized=_rounded((split_blocks(f32_from_e4m3(bytes_), 32) * powers[..., None]).reshape(N, K)),
        metadata=torchao_metadata("MXTensor", ["qdata", "scale"], elem_dtype=_dtype("float8_e4m3fn"), **mx_facts),
    )
    nibbles = rng.integers(0, 16, (48, K)).astype(np.uint8)
    block = rng.integers(0x20, 0x7F, (48, K // 16)).astype(np.uint8)
    outer = F32(0.00021)
    factors = (f32_from_e4m3(block) * outer).astype(F32)
    yield Case(
        name="torchao/nvfp4_swizzled",
        note="scales in 128 x 4 tiles under a shape of their own, low nibble first",
        packed={
            "0._weight_qdata": Tensor("U8", pack_nibbles(nibbles)),
            "0._weight_scale": Tensor("F8_E4M3", tile_scales(block).reshape(32, 16)),
            "0._weight_per_tensor_scale": f32(outer),
        },
        dequantized=_rounded((split_blocks(E2M1_VALUES[nibbles], 16) * factors[..., None]).reshape(48, K)),
        metadata=torchao_metadata(
            "NVFP4Tensor", ["per_tensor_scale", "qdata", "scale"],
            block_size=16, is_swizzled_scales=True, orig_dtype=_dtype("bfloat16"),
        ),
    )  # fmt: skip


def _dtype(name):
    return {"_type": "torch.dtype", "_data": name}


def _comfy_metadata(layers):
    return {"format": "pt", "_quantization_metadata": json.dumps({"format_version": "1.0", "layers": layers})}


def _comfy(rng):
    # 20 rows of 72 columns, padded to multiples of 16: the file holds nothing of the first sizes.
    rows, columns = 32, 80
    codes = rng.integers(0, 16, (rows, columns)).astype(np.uint8)
    codes[20:], codes[:, 72:] = 0, 0
    block = rng.integers(0x20, 0x7F, (rows, columns // 16)).astype(np.uint8)
    block[20:], block[3, 1] = 0, 0  # a block of zeros has a scale of zero
    codes[3, 16:32] = 0
    outer = F32(0.00017)
    factors = (f32_from_e4m3(block) * outer).astype(F32)
    yield Case(
        name="comfy/nvfp4_padded",
        note="high nibble first, tiled scales, sizes padded to multiples of 16",
        packed={
            "proj.weight": Tensor("U8", pack_nibbles(codes.reshape(rows, -1, 2)[..., ::-1].reshape(rows, -1))),
            "proj.weight_scale": Tensor("F8_E4M3", tile_scales(block)),
            "proj.weight_scale_2": f32(outer),
        },
        dequantized={"proj.weight": f32((split_blocks(E2M1_VALUES[codes], 16) * factors[..., None]).reshape(rows, -1))},
        metadata=_comfy_metadata({"proj": {"format": "nvfp4"}}),
    )
    rows, columns = 16, 96
    bytes_ = rng.integers(0, 0x7F, (rows, columns)).astype(np.uint8)
    exponents = rng.integers(110, 130, (rows, columns // 32)).astype(np.uint8)
    powers = np.exp2(exponents.astype(np.float64) - 127).astype(F32)
    yield Case(
        name="comfy/mxfp8",
        note="E4M3 elements, tiled E8M0 scales",
        packed={
            "proj.weight": Tensor("F8_E4M3", bytes_),
            "proj.weight_scale": Tensor("F8_E8M0", tile_scales(exponents)),
        },
        dequantized={"proj.weight": f32((split_blocks(f32_from_e4m3(bytes_), 32) * powers[..., None]).reshape(rows, -1))},
        metadata=_comfy_metadata({"proj": {"format": "mxfp8"}}),
    )
    mark = json.dumps({"format": "float8_e4m3fn", "full_precision_matrix_mult": True}).encode()
    scale = F32(0.0123)
    yield Case(
        name="comfy/fp8_marked",
        note="the layer's format in a tensor of its own",
        packed={
            "proj.weight": Tensor("F8_E4M3", bytes_),
            "proj.weight_scale": f32(scale),
            "proj.input_scale": f32(0.5),
            "proj.comfy_quant": Tensor("U8", np.frombuffer(mark, np.uint8)),
        },
        dequantized={"proj.weight": f32(f32_from_e4m3(bytes_) * scale)},
    )
