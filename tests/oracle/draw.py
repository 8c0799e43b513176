"""Random checkpoints and conversions of them: shapes, types, distributions, schemes, calibration, exceptions."""

from dataclasses import dataclass, field

import numpy as np

import quantize
from convert import Request
from elements import E2M1_BOUNDARIES, F32
from tensors import NUMPY_TYPES, Tensor

# What K has to be a multiple of.
STEPS = {
    **dict.fromkeys(quantize.NVFP4, 16),
    **dict.fromkeys(("w4a8-nvfp4-fp8", "mxfp4", "w4a8-mxfp4-fp8", "mxfp8"), 32),
    **dict.fromkeys(("fp8", "fp8-channel", "fp8-block", "fp8-block-wo", "int8", "int8-wo"), 1),
}


@dataclass
class Round:
    """One checkpoint, and what to ask of a conversion of it."""

    tensors: dict
    config: dict
    request: Request
    # Calibrated block maxima go through a file of tensors, the others through JSON.
    states: dict = field(default_factory=dict)
    # Whether a weight is zero everywhere: refused, unless the reference's NaNs are asked for.
    zero: bool = False
    zero_as_reference: bool = False


def draw(rng, allowed=quantize.SCHEMES):
    """A round, of one of the schemes allowed where the kind of checkpoint leaves a choice."""
    kind = rng.choice(["model", "model", "model", "linear", "linear", "convolutions", "stacks", "experts"])
    schemes = quantize.SCHEMES
    if kind == "convolutions":
        # Both revisions of the reference refuse static quantizers here, and neither knows weight-only ones.
        schemes = ("nvfp4",)
    elif kind == "stacks":
        schemes = (*quantize.NVFP4, "fp8")
    scheme = str(rng.choice([s for s in schemes if s in allowed] or schemes))
    size = int(rng.choice([8, 16, 32, 128]))
    request = Request(scheme, group_size=size)
    if scheme == "fp8" and rng.random() < 0.3:
        request.fp8_rounding = "cuda"
    if rng.random() < 0.3:
        request.export = str(rng.choice(["bf16", "f16", "f32"]))
    step = size if "int4" in scheme else STEPS[scheme]
    dtype = str(rng.choice(["BF16", "BF16", "F16", "F32"]))
    made = {"model": _model, "linear": _linear, "convolutions": _convolutions, "stacks": _stacks, "experts": _experts}
    drawn = made[kind](rng, dtype, step, request)
    _keep_in_range(drawn, request)
    return drawn


def _keep_in_range(drawn, request):
    """A cast to F16 that overflows gives infinities, which neither side claims anything about."""
    if request.export != "f16":
        return
    for name, tensor in drawn.tensors.items():
        if tensor.dtype != "F16":
            bounded = np.clip(tensor.f32(), F32(-60000), F32(60000))
            drawn.tensors[name] = Tensor(tensor.dtype, bounded.astype(tensor.values.dtype))


# Values ---------------------------------------------------------------------------------------------------------


def values(rng, dtype, *shape):
    """A tensor of one of several distributions, in a type; never all zero."""
    how = rng.choice(["normal", "normal", "heavy", "tiny", "huge", "ties", "codes", "sparse", "integers"])
    drawn = rng.standard_normal(shape)
    if how == "normal":
        drawn *= 10.0 ** rng.uniform(-3, 1)
    elif how == "heavy":
        drawn = rng.standard_t(1.5, shape) * 0.02
    elif how == "tiny":
        drawn *= 10.0 ** (rng.uniform(-7, -4) if dtype == "F16" else rng.uniform(-30, -12))
    elif how == "huge":
        drawn *= 1000 if dtype == "F16" else 10.0 ** rng.uniform(4, 30)
    elif how == "ties":
        steps = np.concatenate([E2M1_BOUNDARIES, [0, 0.5, 1, 6, 17, 18.5, 448]])
        drawn = rng.choice(steps, shape) * rng.choice([-1, 1], shape) * 2.0 ** rng.integers(-6, 3)
        drawn.reshape(-1)[0] = 448 * 6 * 2.0**-6
    elif how == "codes":
        drawn = rng.choice([0.5, 1, 1.5, 2, 3, 4, 6], shape) * 2.0 ** rng.integers(-8, 8, (*shape[:-1], 1))
    elif how == "integers":
        drawn = rng.integers(-127, 128, shape) / 64
    if how == "sparse" or rng.random() < 0.3:
        flat = drawn.reshape(-1)
        start = int(rng.integers(0, flat.size))
        flat[start : start + int(rng.integers(1, 300))] = rng.choice([0.0, -0.0])
    if not np.abs(drawn.astype(NUMPY_TYPES[dtype]).astype(F32)).max() > 0:
        drawn.reshape(-1)[-1] = 0.5
    with np.errstate(over="ignore"):
        cast = drawn.astype(F32).astype(NUMPY_TYPES[dtype])
    limit = 60000 if dtype == "F16" else 3e38
    return Tensor(dtype, np.clip(cast.astype(F32), -limit, limit).astype(NUMPY_TYPES[dtype]))


def _multiple(rng, step, most):
    return step * int(rng.integers(1, max(most // step, 1) + 1))


def _calibrated(rng, request, modules):
    """Activation maxima for some modules; equal ones within a fused group."""
    for module in modules:
        if rng.random() < 0.8:
            parent, _, leaf = module.rpartition(".")
            fused = {"k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj", "w3": "w1"}.get(leaf, leaf)
            twin = request.calibration.get(f"{parent}.{fused}.input_quantizer")
            amax = twin if twin is not None else float(F32(np.exp(rng.uniform(-4, 4))))
            request.calibration[f"{module}.input_quantizer"] = amax


# Checkpoints ----------------------------------------------------------------------------------------------------


def _linear(rng, dtype, step, request):
    """A few odd layers; now and then one whose K does not fit."""
    tensors = {}
    refusal = step > 1 and rng.random() < 0.1
    for number in range(int(rng.integers(1, 4))):
        rows = int(rng.choice([1, 2, 7, 33, 64, 129, 200]))
        if "int4" in request.to:
            rows += rows % 2
        columns = _multiple(rng, step, int(rng.choice([16, 64, 300])))
        tensors[f"blocks.{number}.proj.weight"] = values(rng, dtype, rows, columns + (refusal and number == 0))
        if rng.random() < 0.5:
            tensors[f"blocks.{number}.proj.bias"] = values(rng, dtype, rows)
    drawn = Round(tensors, {}, request)
    if not refusal and request.to in ("nvfp4", "w4a16-nvfp4", "w4a8-nvfp4-fp8", "fp8") and rng.random() < 0.15:
        weight = tensors["blocks.0.proj.weight"].values
        tensors["blocks.0.proj.weight"] = Tensor(dtype, np.zeros_like(weight))
        drawn.zero, drawn.zero_as_reference = True, bool(rng.random() < 0.5)
    elif not refusal and request.to in ("nvfp4", "nvfp4-static", "nvfp4-four-over-six", "nvfp4-mse") and rng.random() < 0.5:
        _give_states(rng, drawn)
    if rng.random() < 0.5:
        _calibrated(rng, request, [name.removesuffix(".weight") for name in tensors if name.endswith(".weight")])
    return drawn


def _give_states(rng, drawn):
    """Calibrated global maxima, and (where the scheme takes them) block maxima."""
    for name, tensor in drawn.tensors.items():
        module = name.removesuffix(".weight")
        if module == name:
            continue
        blocks = np.abs(quantize.split_blocks(tensor.f32(), 16)).max(-1).reshape(-1, 1)
        largest = F32(blocks.max() * F32(rng.choice([1, 1, 1.25])))
        drawn.request.calibration[f"{module}.weight_quantizer._global_amax"] = largest
        drawn.states[f"{module}.weight_quantizer._global_amax"] = quantize.scalar(largest)
        if drawn.request.to != "nvfp4-mse":
            maxima = (blocks * rng.choice(np.array([1, 0.5, 1.5, 0.9], F32), blocks.shape)).astype(F32)
            maxima = np.minimum(maxima, largest)
            drawn.request.calibration[f"{module}.weight_quantizer"] = maxima
            drawn.states[f"{module}.weight_quantizer._amax"] = Tensor("F32", maxima)


def _model(rng, dtype, step, request):
    """A small language model: fused groups, kept modules, layers with schemes of their own, a cache."""
    hidden, inner = _multiple(rng, max(step, 2), 160), _multiple(rng, max(step, 2), 160)
    tensors = {
        "model.embed_tokens.weight": values(rng, dtype, 24, hidden),
        "model.norm.weight": values(rng, dtype, hidden),
        "lm_head.weight": values(rng, dtype, 24, hidden),
    }
    modules = []
    for layer in range(int(rng.integers(1, 3))):
        shapes = {
            "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (hidden // 2 * 2, hidden),
            "self_attn.v_proj": (hidden // 2 * 2, hidden), "self_attn.o_proj": (hidden, hidden),
            "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden), "mlp.down_proj": (hidden, inner),
        }  # fmt: skip
        for leaf, shape in shapes.items():
            module = f"model.layers.{layer}.{leaf}"
            modules.append(module)
            tensors[f"{module}.weight"] = values(rng, dtype, *shape)
        tensors[f"model.layers.{layer}.input_layernorm.weight"] = values(rng, dtype, hidden)
    if rng.random() < 0.4:
        other = "keep" if rng.random() < 0.5 else "fp8"
        request.layers.append(("*self_attn*", other))
    if rng.random() < 0.3:
        request.exclude.append("*layers.0.mlp.down*")
    if rng.random() < 0.6:
        _calibrated(rng, request, modules)
    if request.to != "fp8-block" and rng.random() < 0.2:  # whose config has no place for a cache
        for side in "kv":
            request.calibration[f"model.layers.0.self_attn.{side}_bmm_quantizer"] = float(F32(rng.uniform(1, 90)))
    config = {"model_type": "llama", "hidden_size": hidden, "intermediate_size": inner, "tie_word_embeddings": False}
    return Round(tensors, config, request)


def _convolutions(rng, dtype, step, request):
    tensors, modules = {}, []
    for number in range(int(rng.integers(1, 4))):
        kernel = rng.choice([1, 2, 3], 3)
        shape = (int(rng.integers(1, 12)), int(rng.integers(1, 9)), *map(int, kernel))
        module = f"decoder.blocks.{number}.conv1"
        modules.append(module)
        tensors[f"{module}.weight"] = values(rng, dtype, *shape)
        tensors[f"{module}.bias"] = values(rng, dtype, shape[0])
    if rng.random() < 0.5:
        _calibrated(rng, request, modules)
    return Round(tensors, {}, request)


def _stacks(rng, dtype, step, request):
    """Parameters [E, in, out] that stay stacks."""
    hidden, inner = 16 * int(rng.integers(1, 5)), 16 * int(rng.integers(1, 5))
    experts, stem = int(rng.integers(1, 4)), "model.layers.0.feed_forward.experts"
    tensors = {
        f"{stem}.gate_up_proj": values(rng, dtype, experts, hidden, 2 * inner),
        f"{stem}.down_proj": values(rng, dtype, experts, inner, hidden),
    }
    if rng.random() < 0.5:
        for leaf in ("gate_up_proj", "down_proj"):
            request.calibration[f"{stem}.{leaf}_input_quantizer"] = float(F32(np.exp(rng.uniform(-4, 4))))
    for expert in range(experts):  # FP8 takes a maximum for each
        for tensor in tensors.values():
            tensor.values[expert].reshape(-1)[0] = 0.5
    config = {"model_type": "llama4_text", "hidden_size": hidden, "intermediate_size": inner}
    return Round(tensors, config, request)


def _experts(rng, dtype, step, request):
    """Parameters [E, 2 I, H] that become single experts."""
    unit = max(step, 2)
    hidden = _multiple(rng, unit, 96)
    inner = hidden + unit * int(rng.integers(1, 3))
    experts, stem = int(rng.integers(1, 4)), "model.layers.0.mlp.experts"
    tensors = {
        f"{stem}.gate_up_proj": values(rng, dtype, experts, 2 * inner, hidden),
        f"{stem}.down_proj": values(rng, dtype, experts, hidden, inner),
        "model.layers.0.mlp.gate.weight": values(rng, dtype, experts, hidden),
    }
    for expert in range(experts):
        for tensor in list(tensors.values())[:2]:
            tensor.values[expert].reshape(-1)[[0, -1]] = 0.5
    if rng.random() < 0.5:
        for leaf in ("gate_up_proj", "down_proj"):
            request.calibration[f"{stem}.{leaf}_input_quantizer"] = float(F32(np.exp(rng.uniform(-4, 4))))
    config = {"model_type": "qwen3_moe", "hidden_size": hidden, "moe_intermediate_size": inner}
    return Round(tensors, config, request)
