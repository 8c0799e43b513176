"""Which decoder reads a checkpoint: by config, header metadata and marks among the tensors."""

from decode_foreign import (
    decode_awq,
    decode_bitsandbytes,
    decode_comfy,
    decode_gptq,
    decode_mlx,
    decode_torchao,
)
from decode_modelopt import Unsupported, decode_compressed_tensors, decode_gpt_oss, decode_modelopt

OPAQUE = ("hqq", "aqlm", "vptq", "eetq", "quanto", "spqr")


def decode(tensors, metadata, config):
    """Every quantized weight of a checkpoint in F32, by name."""
    quantization = config.get("quantization_config") or config.get("quantization") or {}
    method = quantization.get("quant_method")
    if method in OPAQUE:
        raise Unsupported(method)
    if "tensor_names" in metadata:
        return decode_torchao(tensors, metadata)
    if method == "gptq":
        return decode_gptq(tensors, quantization)
    if method == "awq":
        return decode_awq(tensors, quantization)
    if method == "bitsandbytes":
        return decode_bitsandbytes(tensors)
    if method == "mxfp4":
        return decode_gpt_oss(tensors)
    if method == "compressed-tensors":
        return decode_compressed_tensors(tensors, quantization)
    if any(tensor.dtype == "U32" for tensor in tensors.values()) and "bits" in quantization:
        return decode_mlx(tensors, quantization)
    is_comfy = "_quantization_metadata" in metadata and "quantization_config" not in metadata
    has_mark = any(name.endswith((".comfy_quant", "scaled_fp8")) for name in tensors)
    if is_comfy or has_mark:
        return decode_comfy(tensors, metadata)
    return decode_modelopt(tensors, tuple(quantization.get("weight_block_size") or (128, 128)))
