"""Real data sets that scikit-learn ships, texts from a word list, and known poison put into them."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets

from assay.collect.scan.poisoning import PoisoningResult, scan_dataset
from assay.targets.registry import resolve

_COMMON = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "that",
    "it",
    "was",
    "for",
    "with",
    "as",
    "this",
    "at",
    "by",
    "they",
    "we",
    "all",
]
_TOPICS = {
    "sport": ["match", "goal", "team", "coach", "season", "player", "league", "cup", "stadium", "referee", "fans"],
    "cooking": ["oven", "butter", "flour", "salt", "recipe", "pan", "onion", "garlic", "bake", "sauce", "dish"],
    "space": ["orbit", "rocket", "moon", "launch", "satellite", "planet", "telescope", "gravity", "crew", "star"],
}


def breast_cancer() -> tuple[np.ndarray, np.ndarray]:
    return datasets.load_breast_cancer(return_X_y=True)


def digits() -> tuple[np.ndarray, np.ndarray]:
    return datasets.load_digits(return_X_y=True)


def iris() -> tuple[np.ndarray, np.ndarray]:
    return datasets.load_iris(return_X_y=True)


def wine() -> tuple[np.ndarray, np.ndarray]:
    return datasets.load_wine(return_X_y=True)


def texts(count: int = 600, seed: int = 5) -> list[dict[str, Any]]:
    """Sentences about three topics: half common words, half the topic's, the odd one of another topic."""
    draw = random.Random(seed)
    every = [word for words in _TOPICS.values() for word in words]
    made = []
    for i in range(count):
        label = list(_TOPICS)[i % len(_TOPICS)]
        words = [draw.choice(_COMMON) for _ in range(9)] + [draw.choice(_TOPICS[label]) for _ in range(6)]
        words += [draw.choice(every) for _ in range(2)]
        draw.shuffle(words)
        made.append({"text": " ".join(words), "label": label})
    draw.shuffle(made)
    return made


def flipped(y: np.ndarray, part: float, seed: int = 1) -> tuple[np.ndarray, set[int]]:
    """Labels of a part of the rows changed to another class; row numbers from 1."""
    draw = np.random.default_rng(seed)
    rows = draw.choice(len(y), int(part * len(y)), replace=False)
    made = y.copy()
    classes = np.unique(y)
    for i in rows:
        made[i] = draw.choice(classes[classes != y[i]])
    return made, {int(i) + 1 for i in rows}


def write_csv(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def table(x: np.ndarray, y: np.ndarray) -> list[dict[str, Any]]:
    return [
        {f"f{j}": float(value) for j, value in enumerate(row)} | {"label": int(c)} for row, c in zip(x, y, strict=True)
    ]


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_npz(path: Path, x: np.ndarray, y: np.ndarray) -> Path:
    np.savez(path, x=x, y=y)
    return path


def scan(path: Path, baseline: Path | None = None, **options: Any) -> PoisoningResult:
    with resolve(str(path)) as target:
        if baseline is None:
            return scan_dataset(target, **options)
        with resolve(str(baseline)) as earlier:
            return scan_dataset(target, baseline=earlier, **options)


def numbers(result: PoisoningResult, kind: str) -> set[int]:
    """Rows of all groups of one kind."""
    return {row.number for group in result.groups if group.kind == kind for row in group.rows}


def suspects(result: PoisoningResult, kind: str) -> set[int]:
    return {item.row.number for item in result.suspects if any(reason.kind == kind for reason in item.reasons)}
