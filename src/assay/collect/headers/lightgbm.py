"""Reads LightGBM's text models: the header's keys, the number of trees, and the parameters that follow them.

The trees themselves are never read: the header states their lengths in bytes. Never imports LightGBM.
Source: ``GBDT::SaveModelToString`` in LightGBM's ``src/boosting/gbdt_model_text.cpp`` (model format v2 to v4).
"""

from __future__ import annotations

import re
from typing import BinaryIO

from assay.collect.headers.interface import ModelFile
from assay.collect.headers.reading import clean, failed
from assay.collect.headers.values import known, names

_HEADER_LIMIT = 32 << 20
"""Bytes that the header may have: names and ranges of all features, lengths of all trees."""

_TAIL_LIMIT = 8 << 20
"""Bytes read behind the trees: the features' importances, then the parameters."""

_HEAD = re.compile(rb"tree\r?\n(?:[a-z_]+=[^\n]*\n)*?version=v\d")
_PARAMETER = re.compile(r"^\[(boosting|num_iterations|learning_rate|linear_tree): ([^\n\]]{0,64})\]\r?$", re.MULTILINE)


class LightGbmReader:
    """LightGBM models as ``Booster.save_model`` writes them."""

    def recognises(self, path: str, head: bytes) -> bool:
        """By the first line ``tree`` and the version that follows it."""
        return _HEAD.match(head) is not None

    def read(self, path: str, file: BinaryIO, size: int) -> ModelFile:
        """Objective, boosting, features, classes and trees."""
        header, start = _header(file)
        if header is None:
            return failed(path, "lightgbm", "its header does not end")
        warnings = []
        lengths = header.get("tree_sizes", "").split()
        trees = _total(lengths)
        if trees is None:
            warnings.append(f"{path}: the lengths of its trees are not numbers")
        tail = b""
        if trees is not None and start + trees <= size:
            file.seek(start + trees)
            tail = file.read(_TAIL_LIMIT)
        if not tail.lstrip().startswith(b"end of trees"):
            warnings.append(f"{path}: its trees do not end where the header says; its parameters were not read")
            tail = b""
        text = tail.decode("utf-8", "replace")
        parameters = dict(_PARAMETER.findall(text[: text.find("end of parameters")]))
        return ModelFile(
            path,
            "lightgbm",
            architecture=parameters.get("boosting"),
            metadata=known(
                objective=header.get("objective"),
                features=_more_than(header.get("max_feature_idx")),
                feature_names=names(header.get("feature_names", "").split()),
                classes=header.get("num_class"),
                trees=len(lengths),
                trees_per_iteration=header.get("num_tree_per_iteration"),
                learning_rate=parameters.get("learning_rate"),
                linear_trees=parameters.get("linear_tree"),
                version=header.get("version"),
            ),
            warnings=tuple(warnings),
        )


def _header(file: BinaryIO) -> tuple[dict[str, str] | None, int]:
    """The lines before the first blank one, and where the trees start; None when the header is too long."""
    file.seek(0)
    values: dict[str, str] = {}
    room = _HEADER_LIMIT
    while room > 0:
        line = file.readline(room)
        room -= len(line)
        if not line.strip():
            return values, _HEADER_LIMIT - room
        if not line.endswith(b"\n"):
            break
        key, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition("=")
        values.setdefault(key, value)
    return None, 0


def _total(lengths: list[str]) -> int | None:
    total = 0
    for length in lengths:
        if not (length.isascii() and length.isdigit() and len(length) < 16):
            return None
        total += int(length)
    return total


def _more_than(last_index: str | None) -> int | str | None:
    if last_index and last_index.isascii() and last_index.isdigit() and len(last_index) < 16:
        return int(last_index) + 1
    return clean(last_index) if last_index else None
