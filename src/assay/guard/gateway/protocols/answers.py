"""Predictions as numbers for those who look at them: one label and, where there are any, probabilities a row.

Reads generously, for nothing is decided by it: what is not understood is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from assay.guard.gateway.hardening.items import LABELS, SCORES
from assay.guard.gateway.hardening.vectors import is_distribution
from assay.guard.gateway.interface import Answers


@lru_cache(4096)
def number(label: str) -> int:
    """A text as a stable number: the same in every process and after a restart."""
    digest = hashlib.blake2b(label.encode(errors="replace"), digest_size=6).digest()
    return int.from_bytes(digest)


def answers(items: Sequence[Any]) -> Answers | None:
    """One prediction a row."""
    import numpy as np

    read = [item(one) for one in items]
    labels = [label for label, _ in read]
    vectors = [vector for _, vector in read if vector is not None]
    if not read or (None in labels and not vectors):
        return None
    probabilities = None
    if len(vectors) == len(read) and len({len(vector) for vector in vectors}) == 1:
        probabilities = np.array(vectors, dtype=np.float64)
    if None in labels:
        if probabilities is None:
            return None
        return Answers(None, probabilities)
    return Answers(np.array(labels, dtype=np.int64), probabilities)


def item(value: Any) -> tuple[int | None, list[float] | None]:
    """Label and probabilities of one prediction; None for what it does not tell."""
    kind = type(value)
    if kind is str:
        return number(value), None
    if kind is bool or kind is int:
        return (int(value) if -(1 << 63) <= value < 1 << 63 else None), None
    if kind is float:
        if value.is_integer() and abs(value) < 1 << 53:
            return int(value), None
        return (int(value > 0.5), [1.0 - value, value]) if 0 < value < 1 else (None, None)
    if kind is list and len(value) == 1:
        return item(value[0])
    if kind is list and value and all(type(one) is float or type(one) is int for one in value):
        return (_first(value), [float(one) for one in value]) if is_distribution(value) else (None, None)
    if kind is list and value and all(type(one) is dict and one.keys() >= {"label", "score"} for one in value):
        return item({str(one["label"]): one["score"] for one in value})
    if kind is dict and value:
        return _object(value)
    return None, None


def _first(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def _object(value: dict[str, Any]) -> tuple[int | None, list[float] | None]:
    numbers = [one for one in value.values() if type(one) is float or type(one) is int]
    if not value.keys() & (LABELS | SCORES) and len(numbers) == len(value) and is_distribution(numbers):
        # A ranking comes in another order each time: classes are put into the order of their names.
        names = sorted(value)
        ordered = [float(value[name]) for name in names]
        return number(names[_first(ordered)]), ordered
    label: int | None = None
    vector: list[float] | None = None
    for name, one in value.items():
        if name in SCORES and vector is None:
            guessed, vector = item(one)
            label = guessed if label is None and vector is not None else label
        elif name in LABELS and type(one) in (str, int, bool, float):
            label = item(one)[0]
    return label, vector
