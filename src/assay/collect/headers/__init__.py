"""Readers of model formats: what a model file's own bytes say about architecture, tensors and origin.

`read_models` offers every file of a target to the readers, which judge it by its first bytes. No reader
loads a tensor, unpickles, or imports the framework that wrote the file; what cannot be read becomes a
warning, never silence.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import islice

from assay.collect.headers.interface import ModelFile, ModelReader
from assay.errors import DocumentError, MissingExtraError
from assay.targets.interface import Target

HEAD = 4096
"""Bytes that a reader judges a file by."""

READERS: tuple[str, ...] = (
    "safetensors:SafetensorsReader",
    "gguf:GgufReader",
    "keras:KerasReader",
    "saved_model:SavedModelReader",
    "catboost:CatBoostReader",
    "lightgbm:LightGbmReader",
    "xgboost:XGBoostReader",
    "numpy:NumpyReader",
    "pytorch:PyTorchReader",
    "onnx:OnnxReader",
    "joblib:JoblibReader",
)
"""``module:class`` in the order they are asked; exact magic numbers first, guesses by structure last."""


@cache
def readers() -> tuple[ModelReader, ...]:
    """One instance of every reader, imported on first use."""
    found = []
    for entry in READERS:
        module, name = entry.split(":")
        found.append(getattr(importlib.import_module(f"{__name__}.{module}"), name)())
    return tuple(found)


def read_models(target: Target) -> list[ModelFile]:
    """What each model file of ``target`` says, in order of name; files that no reader wants are left out.

    Each shard of a sharded model is one entry; where a file's name says that there are more shards than the
    target has (``model-00001-of-00004.safetensors``), the first one present carries a warning. Errors that
    concern reading the target itself (an unreadable or changing file) are raised.
    """
    missing = missing_shards(target.names)
    found = []
    for name, size in zip(target.names, target.sizes, strict=True):
        with target.open(name) as file:
            head = file.read(HEAD)
            reader = next((reader for reader in readers() if reader.recognises(name, head)), None)
            if reader is None:
                continue
            file.seek(0)
            try:
                model = reader.read(name, file, size)
            except (DocumentError, MissingExtraError, RecursionError, MemoryError) as error:
                reason = getattr(error, "message", type(error).__name__)
                model = ModelFile(name, "unknown", warnings=(f"{name}: not read: {reason}",))
        if name in missing:
            model = replace(model, warnings=(*model.warnings, missing[name]))
        found.append(model)
    return found


_SHARD = re.compile(r"(.*-)(\d{5})(-of-)(\d{5})(\.[A-Za-z0-9]+)")


def missing_shards(names: Sequence[str]) -> dict[str, str]:
    """For the first present shard of each incomplete set: a warning that names the shards that are not
    there.
    """
    sets: dict[tuple[str, ...], dict[int, str]] = {}
    for name in names:
        if match := _SHARD.fullmatch(name):
            before, number, of, count, suffix = match.groups()
            sets.setdefault((before, of, count, suffix), {})[int(number)] = name
    warnings = {}
    for (before, of, count, suffix), present in sets.items():
        first = 0 if 0 in present else 1  # a few writers count from nought
        absent = list(islice((n for n in range(first, first + int(count)) if n not in present), 5))
        if absent:
            shown = ", ".join(f"{before}{n:05}{of}{count}{suffix}" for n in absent)
            more = int(count) - len(present) - len(absent)
            also = f" and {more} more" if more > 0 else ""
            warnings[min(present.values())] = f"shards of this model are missing: {shown}{also}"
    return warnings
