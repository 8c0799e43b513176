"""A whole checkpoint to a scheme: which weights are packed, what they share, what becomes of the rest.

Knows names, not files. It covers what conversions by flags do; ties declared by recipes and renames are left to tests
of their own.
"""

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np

import quantize
from elements import F32
from quantize import Given, encode, encode_stack, scalar
from tensors import FLOATS, Tensor

# Modules that stay plain unless named: routers, heads, towers (globs on the module path and a dot).
KEPT = (
    "*block_sparse_moe.gate* *linear_attn.conv1d* *linear_attn.in_proj_a* *linear_attn.in_proj_b* *lm_head* "
    "*mixer.conv1d* *mlp.gate.* *mlp.shared_expert_gate.* *output_layer* *proj_out.* *router* mtp.* output.* "
    "*embed_vision* *vision_tower* *visual* *vision_model* *multi_modal_projector* *self_conditioning*"
).split()
EMBEDDINGS = (
    "embed_tokens embeddings word_embeddings position_embeddings token_type_embeddings wte wpe shared "
    "relative_attention_bias embed_in"
).split()
FUSED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"), ("w1", "w3"))


@dataclass
class Request:
    """What a conversion asks for, as the command line's flags do."""

    to: str
    layers: list = field(default_factory=list)  # (glob, scheme or "keep"), the first that fits
    exclude: list = field(default_factory=list)
    export: str | None = None
    group_size: int = 128
    calibration: dict = field(default_factory=dict)  # "<module>.input_quantizer" and the like: maximum
    fp8_rounding: str = "cpu"


def convert(tensors, config, request):
    """The tensors of the converted checkpoint."""
    tensors = {name: t for name, t in tensors.items() if not _is_quantizer_state(name)}
    tensors, stacks = _with_stacks_resolved(tensors, config)
    schemes = _chosen(tensors, request)
    shared = _shared_maxima(tensors, schemes, request)
    output = {}
    for name, tensor in tensors.items():
        module = name.removesuffix(".weight")
        if name in stacks:
            amax = request.calibration.get(f"{name}_input_quantizer")
            given = Given(input_amax=amax, export=request.export)
            for part, stored in encode_stack(request.to, tensor, given).items():
                output[name if part == "weight" else f"{name}_{part}"] = stored
        elif name.endswith(".weight") and module in schemes:
            for part, stored in encode(schemes[module], tensor, shared[module]).items():
                output[f"{module}.{part}"] = stored
        else:
            output[name] = tensor
    output.update(_cache_scales(request.calibration))
    return output


def _is_quantizer_state(name):
    return any(segment.endswith(("_quantizer", "_quantizers")) for segment in name.split("."))


def _cache_scales(calibration):
    found = {}
    for key, amax in calibration.items():
        match = re.fullmatch(r"(.*)\.([kv])_bmm_quantizer", key)
        if match and amax is not None:
            attention, side = match.groups()
            found[f"{attention}.{side}_proj.{side}_scale"] = scalar(F32(F32(amax) / F32(448)))
    return found


def _with_stacks_resolved(tensors, config):
    """Stacks [E, 2 I, H] as single experts, first half gate; names of those that stay stacks [E, in, out]."""
    parents = {
        name.removesuffix(".gate_up_proj")
        for name, tensor in tensors.items()
        if name.endswith(".gate_up_proj") and tensor.values.ndim == 3
    }
    model = config.get("model_type", "")
    resolved, stacks = {}, set()
    for name, tensor in tensors.items():
        parent, _, leaf = name.rpartition(".")
        if parent not in parents or leaf not in ("gate_up_proj", "down_proj"):
            resolved[name] = tensor
            continue
        hidden_is_middle = tensors[f"{parent}.gate_up_proj"].values.shape[1] == config.get("hidden_size")
        if model.startswith("llama4") or model == "gpt_oss" or hidden_is_middle:
            stacks.add(name)
            resolved[name] = tensor
            continue
        for number, expert in enumerate(tensor.values):
            parts = {"down_proj": expert}
            if leaf == "gate_up_proj":
                half = expert.shape[0] // 2
                parts = {"gate_proj": expert[:half], "up_proj": expert[half:]}
            for part, values in parts.items():
                resolved[f"{parent}.{number}.{part}.weight"] = Tensor(tensor.dtype, values)
    return resolved, stacks


def _chosen(tensors, request):
    """Scheme by module, packed ones only."""
    schemes = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        if leaf != "weight" or tensor.dtype not in FLOATS or tensor.values.ndim not in (2, 5):
            continue
        named = next((scheme for glob, scheme in request.layers if fnmatchcase(module, glob)), None)
        scheme = named or _by_default(module, tensor, request.to)
        excluded = any(fnmatchcase(module, glob) for glob in request.exclude)
        if scheme != "keep" and not excluded:
            schemes[module] = scheme
    return schemes


def _by_default(module, tensor, scheme):
    last = module.rpartition(".")[2]
    is_embedding = last in EMBEDDINGS or "embedding" in last
    if any(fnmatchcase(f"{module}.", glob) for glob in KEPT) or (is_embedding and tensor.values.ndim == 2):
        return "keep"
    is_convolution = tensor.values.ndim == 5
    return "keep" if is_convolution and scheme not in quantize.NVFP4 else scheme


def _shared_maxima(tensors, schemes, request):
    """What each packed module's scales depend on, maxima of fused groups merged."""
    calibration = request.calibration
    given = {
        module: {
            "weight_amax": None,
            "input_amax": _input_amax(calibration, module),
            "block_amax": calibration.get(f"{module}.weight_quantizer"),
            "global_amax": calibration.get(f"{module}.weight_quantizer._global_amax"),
        }
        for module in schemes
    }
    for members in _fused_groups(schemes):
        scheme = schemes[members[0]]
        in_expert = re.search(r"experts\.\d+$", members[0].rpartition(".")[0])
        if scheme == "fp8" and not in_expert:
            continue
        sharing = [m for m in members if _has_one_maximum(scheme, tensors[f"{m}.weight"])]
        largest = max((F32(np.abs(tensors[f"{m}.weight"].f32()).max()) for m in sharing), default=None)
        for module in sharing:
            given[module]["weight_amax"] = largest
        inputs = [given[m]["input_amax"] for m in members if given[m]["input_amax"] is not None]
        for module in members:
            given[module]["input_amax"] = max(inputs, default=None)
    return {
        module: Given(
            **facts, group_size=request.group_size, export=request.export, fp8_rounding=request.fp8_rounding
        )
        for module, facts in given.items()
    }


def _input_amax(calibration, module):
    """The maximum of a module's own quantizer, or of the one that all experts of its container share."""
    own = calibration.get(f"{module}.input_quantizer")
    match = re.fullmatch(r"(.*experts)\.\d+\.(\w+)", module)
    if own is not None or not match:
        return own
    container, leaf = match.groups()
    side = "down_proj" if leaf in ("down_proj", "w2") else "gate_up_proj"
    return calibration.get(f"{container}.{side}_input_quantizer")


def _fused_groups(schemes):
    groups = {}
    for module, scheme in schemes.items():
        parent, _, leaf = module.rpartition(".")
        for names in FUSED:
            if leaf in names:
                groups.setdefault((parent, names, scheme), []).append(module)
    return list(groups.values())


def _has_one_maximum(scheme, weight):
    """Whether the scheme takes a single maximum from this weight, so that a group can share it."""
    if scheme in ("fp8-block", "fp8-block-wo"):
        return max(weight.values.shape) <= 128
    return scheme in (*quantize.NVFP4, "w4a8-nvfp4-fp8", "w4a8-int4-fp8", "fp8")
