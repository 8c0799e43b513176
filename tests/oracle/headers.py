"""What Python makes of headers that our reader has judged: its `safetensors`, and its `json` under the format's rules.

Reads lines of JSON from standard input, as the example `headers` of the promises writes them. Every difference must be
of a class that the list of differences explains; each class is shown by its own example first.
"""

import json
import re
import struct
import sys
from collections import Counter

import safetensors

BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
LARGEST = 2**64 - 1


class Refused(Exception):
    """The file is no safetensors file."""


def need(condition, why):
    if not condition:
        raise Refused(why)


class Object(list):
    """The pairs of a JSON object, doubled ones included."""


def whole(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def fields(value):
    """The three fields of a tensor."""
    need(isinstance(value, Object), "a tensor is no object")
    known = [(key, item) for key, item in value if key in ("dtype", "shape", "data_offsets")]
    need(sorted(key for key, _ in known) == ["data_offsets", "dtype", "shape"], "a field is missing or doubled")
    known = dict(known)
    dtype, shape, offsets = known["dtype"], known["shape"], known["data_offsets"]
    need(isinstance(dtype, str) and dtype in BITS, "unknown dtype")
    for numbers in (shape, offsets):
        plain = isinstance(numbers, list) and not isinstance(numbers, Object)
        need(plain and all(whole(number) for number in numbers), "not a list of counts")
    need(len(offsets) == 2, "two offsets are needed")
    return dtype, shape, offsets[0], offsets[1]


def by_json(file):
    """Reads a file with Python's `json` and the rules of the format. Of a name that stands twice, the last counts."""
    need(len(file) >= 8, "too short")
    length = struct.unpack("<Q", file[:8])[0]
    need(length <= len(file) - 8, "the header is longer than the file")
    try:
        text = file[8 : 8 + length].decode("utf-8")
        top = json.loads(text, object_pairs_hook=Object)
    except (ValueError, RecursionError) as error:
        raise Refused(str(error)) from error
    need(isinstance(top, Object), "no object")
    metadata = [value for key, value in top if key == "__metadata__"]
    need(len(metadata) <= 1, "metadata stands twice")
    texts = []
    for value in metadata:
        if value is not None:
            need(isinstance(value, Object) and all(isinstance(v, str) for _, v in value), "metadata is no map of texts")
            texts = value
    read = [(key, fields(value)) for key, value in top if key != "__metadata__"]
    tensors = dict(read)
    at = 0
    for dtype, shape, begin, end in sorted(tensors.values(), key=lambda tensor: (tensor[2], tensor[3])):
        need(begin == at and end >= begin, "a hole, an overlap, a reversed span")
        bits = BITS[dtype]
        for size in shape:
            bits = None if bits is None or bits // BITS[dtype] * size > LARGEST else bits * size
        need(bits is not None and bits <= LARGEST, "overflow")
        need(bits % 8 == 0 and bits // 8 == end - begin, "another size")
        at = end
    need(8 + length + at == len(file), "another length")
    return tensors, dict(texts)


def by_library(file):
    """Reads a file with Python's `safetensors`: names, types and shapes."""
    try:
        read = safetensors.deserialize(file)
    except BaseException as error:  # A panic of the library is no Exception.
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        raise Refused(str(error)) from error
    return {name: (entry["dtype"], list(entry["shape"]), len(entry["data"])) for name, entry in read}


NUMBER = re.compile(r"NaN|Infinity|\d[eE]\+?\d{3}")


def depth(text):
    """Deepest nesting, brackets in strings not counted."""
    level = deepest = 0
    for mark in re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text):
        level += (mark in "[{") - (mark in "]}")
        deepest = max(deepest, level)
    return deepest


def class_of(reader, line, file, refused):
    """The class that explains why a reader judges a file otherwise than we do, if one does."""
    if line["over_limit"] and not refused:
        return "limit"
    if reader == "Python safetensors":
        return None
    text = file[8 : 8 + struct.unpack("<Q", file[:8])[0]].decode("utf-8", "replace")
    if refused:
        return "unusual form" if "no object" in refused or "unknown dtype" in refused else None
    if re.search(r"\\u[dD][89a-fA-F]", text):
        return "surrogate"
    if depth(text) > 127:
        return "depth"
    if re.search(r"-0(?![\d.eE])", text):
        return "minus zero"
    return "number" if NUMBER.search(text) else None


def compare(reader, line):
    """`None` if a reader judges as we do, else the class of the difference and what differs."""
    file = bytes.fromhex(line["file"])
    refused, same = None, True
    own = {name: (dtype, shape, begin, end) for name, dtype, shape, begin, end in line["tensors"]}
    try:
        if reader == "Python json":
            tensors, texts = by_json(file)
            same = tensors == {name: tuple(entry) for name, entry in own.items()} and texts == dict(line["metadata"])
        else:
            sizes = {name: (dtype, shape, end - begin) for name, (dtype, shape, begin, end) in own.items()}
            same = by_library(file) == sizes
    except Refused as error:
        refused = str(error)
    if (refused is None) == line["sound"]:
        if refused is not None or same:
            return None
        return (None, f"{reader} reads something else")
    what = f"{reader} {'refuses it (' + refused + ')' if refused else 'takes it'}, ours says {line['defects']}"
    return (class_of(reader, line, file, refused), what)


def main():
    readers = ("Python safetensors", "Python json")
    counts, shown = Counter(), Counter()
    sound = total = 0
    for text in sys.stdin:
        line = json.loads(text)
        listed = line.get("class")
        total += 1
        sound += line["sound"]
        for reader in readers:
            difference = compare(reader, line)
            if listed and listed["reader"] == reader:
                found = difference[0] if difference else None
                if found != listed["id"]:
                    sys.exit(f"the example of {listed['id']!r} shows {difference} in {reader}")
                shown[reader, found] += 1
            elif difference and difference[0] is None:
                sys.exit(f"{difference[1]}\n{bytes.fromhex(line['file'])!r}")
            elif difference:
                counts[f"{reader}: {difference[0]}"] += 1
    for name in counts:
        if tuple(name.split(": ")) not in shown:
            sys.exit(f"{name} is a class that the list does not explain")
    if sound < total // 25 or total < 100:
        sys.exit(f"only {sound} of {total} headers are sound, which tests nothing")
    print(f"{total} headers, {sound} of them sound; differences by class: {dict(counts)}")


if __name__ == "__main__":
    main()
