"""Facts about model and data files as CycloneDX properties, with tensors listed so that two bills can be
compared.

The list of tensors is compact JSON, by dtype; its digest covers all of them even where the list is too long
to keep.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from heapq import nlargest

from assay.collect.bom.documents.words import clean
from assay.collect.bom.interface import DataFile
from assay.collect.headers.interface import ModelFile, Tensor
from assay.evidence.predicates.cyclonedx_types import Property

TENSORS = "assay:tensors"
"""Compact JSON: ``{"f32": [["name", [2, 3]], …], …}``, sorted by dtype and name."""
TENSORS_DIGEST = "assay:tensors:sha256"
"""SHA-256 over ``name NUL dtype NUL shape NEWLINE`` of each tensor, sorted; names in UTF-8, shapes as
``2,3``.
"""
MAX_TENSORS = 20_000
"""Tensors of a file that are listed by name."""
MAX_TENSOR_BYTES = 8 * 1024 * 1024
"""Bytes of the list."""
_MAX_COLUMNS = 5_000
_LARGEST = 5


def assay_property(name: str, value: object) -> Property:
    """A property of our own, fit for a document."""
    return Property(f"assay:{name}", clean(value))


def totals(files: Sequence[ModelFile]) -> list[Property]:
    """What one model is, from its file or its shards."""
    if not files:
        return []
    made = [Property("assay:model:format", clean(files[0].format))]
    counts = [file.parameters for file in files]
    if None not in counts:
        made.append(Property("assay:model:parameters", str(sum(count or 0 for count in counts))))
    for text in sorted({file.quantisation for file in files if file.quantisation}):
        made.append(Property("assay:model:quantisation", clean(text)))
    tensors = [tensor for file in files for tensor in file.tensors]
    if tensors:
        made.append(Property("assay:model:dtypes", _dtypes(tensors)))
        largest = nlargest(_LARGEST, tensors, key=lambda tensor: (tensor.parameters, tensor.name))
        made += [
            Property("assay:model:largest-tensor", f"{clean(t.name, 500)} {clean(t.dtype, 100)} {_shape(t)}")
            for t in largest
        ]
    merged = {key: value for file in files for key, value in file.metadata.items()}
    return made + [Property(f"assay:model:meta:{clean(key, 200)}", clean(merged[key])) for key in sorted(merged)]


def of_model(file: ModelFile) -> list[Property]:
    """All that one model file says of itself."""
    made = totals([file])
    if file.architecture:
        made.insert(1, Property("assay:model:architecture", clean(file.architecture)))
    if file.tensors:
        made.append(Property("assay:tensors:count", str(len(file.tensors))))
        made.append(Property(TENSORS_DIGEST, tensors_digest(file.tensors)))
        listed = tensor_list(file.tensors)
        if listed is not None:
            made.append(Property(TENSORS, listed))
    return made


def _dtypes(tensors: Sequence[Tensor]) -> str:
    counted: dict[str, list[int]] = {}
    for tensor in tensors:
        both = counted.setdefault(tensor.dtype, [0, 0])
        both[0] += 1
        both[1] += tensor.parameters
    made = {clean(name, 100): {"tensors": a, "parameters": b} for name, (a, b) in sorted(counted.items())}
    return json.dumps(made, separators=(",", ":"))


def _shape(tensor: Tensor) -> str:
    return ",".join(map(str, tensor.shape)) or "scalar"


def _safe(name: str) -> str:
    """A tensor's name as UTF-8 can hold it: unpaired surrogates become escapes, and two names stay two."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()


def tensors_digest(tensors: Sequence[Tensor]) -> str:
    """See `TENSORS_DIGEST`."""
    lines = sorted(f"{_safe(t.name)}\0{_safe(t.dtype)}\0{','.join(map(str, t.shape))}\n" for t in tensors)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def tensor_list(tensors: Sequence[Tensor]) -> str | None:
    """See `TENSORS`; None when there are too many to list."""
    if len(tensors) > MAX_TENSORS:
        return None
    grouped: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for tensor in tensors:
        grouped.setdefault(tensor.dtype, []).append((tensor.name, tuple(tensor.shape)))
    # ASCII with escapes: names are kept exactly, whatever is in them, and the document stays UTF-8.
    text = json.dumps({dtype: sorted(grouped[dtype]) for dtype in sorted(grouped)}, separators=(",", ":"))
    return text if len(text) <= MAX_TENSOR_BYTES else None


def of_data(file: DataFile) -> list[Property]:
    """All that one data file says of itself."""
    made = [Property("assay:data:format", clean(file.format))]
    if file.rows is not None:
        made.append(Property("assay:data:rows", str(file.rows)))
    if file.columns:
        made.append(Property("assay:data:columns", str(len(file.columns))))
        shown = [[clean(column.name, 500), clean(column.type, 500)] for column in file.columns[:_MAX_COLUMNS]]
        made.append(Property("assay:data:schema", json.dumps(shown, separators=(",", ":"), ensure_ascii=False)))
    return made + [
        Property(f"assay:data:meta:{clean(key, 200)}", clean(file.metadata[key])) for key in sorted(file.metadata)
    ]
