#!/usr/bin/env python3
"""Writes `tests/data/made`: small cases for layouts that the golden data lacks.

A case is `NAME.json` with `NAME.packed.safetensors`, and further one of:
  NAME.dequantized.safetensors   what the packed weights mean, computed here from the values before they were packed
  NAME.source.safetensors        with a `convert` entry: what packing it must give, `packed` being the result
Cases with a `refused` entry hold layouts that a reader names and refuses.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np

import fixtures_convert
import fixtures_foreign
import fixtures_refused
import fixtures_stored
import tensors as files

MADE = Path(__file__).resolve().parent.parent / "data/made"


def write(case):
    """The files of one case."""
    (MADE / case.name).parent.mkdir(parents=True, exist_ok=True)
    facts = {"name": case.name, "config": case.config, "header_metadata": case.metadata, "note": case.note}
    for name in ("packed", "source", "dequantized"):
        tensors = getattr(case, name)
        if tensors:
            files.write(MADE / f"{case.name}.{name}.safetensors", tensors, case.metadata if name == "packed" else None)
    for name in ("convert", "refused"):
        if getattr(case, name):
            facts[name] = getattr(case, name)
    (MADE / f"{case.name}.json").write_text(json.dumps(facts, indent=1) + "\n")


def main():
    shutil.rmtree(MADE, ignore_errors=True)
    cases = []
    for module in (fixtures_convert, fixtures_stored, fixtures_foreign, fixtures_refused):
        cases += module.cases(np.random.default_rng(20250))
    for case in cases:
        write(case)
    size = sum(path.stat().st_size for path in MADE.rglob("*.*"))
    print(f"{len(cases)} cases, {size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
