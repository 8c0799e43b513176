"""Safetensors files, read and written by hand: u64 header length, JSON header, bytes."""

import hashlib
import json
import struct
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np

# How numpy holds each dtype tag. Eight-bit floats stay bytes; `elements` decodes them.
NUMPY_TYPES = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(np.uint8),
    "F8_E8M0": np.dtype(np.uint8),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "I64": np.dtype("<i8"),
}
FLOATS = ("BF16", "F16", "F32")
# Writers put wider elements first.
_WIDTH_ORDER = ["I64", "F32", "I32", "U32", "BF16", "F16", "F8_E8M0", "F8_E4M3", "I8", "U8"]


class Tensor(NamedTuple):
    """A dtype tag and the values (bytes, for eight-bit floats)."""

    dtype: str
    values: np.ndarray

    def f32(self):
        """A float tensor widened."""
        return self.values.astype(np.float32)


def read(path):
    """The tensors of one file by name, and its metadata."""
    content = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__", None) or {}
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        values = np.frombuffer(content[begin:end], NUMPY_TYPES[entry["dtype"]])
        tensors[name] = Tensor(entry["dtype"], values.reshape(entry["shape"]))
    return tensors, metadata


def write(path, tensors, metadata=None):
    """Writes one file, as the reference's writer orders it: wider dtypes first, then by name."""
    header, pieces, offset = {}, [], 0
    if metadata:
        header["__metadata__"] = metadata
    order = sorted(tensors, key=lambda name: (_WIDTH_ORDER.index(tensors[name].dtype), name))
    for name in order:
        tensor = tensors[name]
        piece = np.ascontiguousarray(tensor.values, NUMPY_TYPES[tensor.dtype]).tobytes()
        shape = list(np.shape(tensor.values))
        header[name] = {"dtype": tensor.dtype, "shape": shape, "data_offsets": [offset, offset + len(piece)]}
        offset += len(piece)
        pieces.append(piece)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(pieces))


def read_folder(folder):
    """The tensors and metadata of all weight files of a folder, and its `config.json` (or none)."""
    folder = Path(folder)
    tensors, metadata = {}, {}
    for path in sorted(folder.glob("*.safetensors")):
        more, facts = read(path)
        tensors.update(more)
        metadata.update(facts)
    config = folder / "config.json"
    return tensors, metadata, json.loads(config.read_text()) if config.exists() else {}


def sha256(values):
    """Of the little-endian bytes of an array."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
