"""How much poison the scan of data sets finds, how much of what it finds is poison, and how quiet it is without any.

Real data: what scikit-learn ships (digits, breast cancer, wine, iris), and the first paragraphs of the docstrings of
NumPy, SciPy and scikit-learn, labelled by library. Poison by published recipes, with several seeds; medians are shown.
"ranked" is the part of the first n rows of the list that is poison, n being the number of poisoned rows; "found" the
part of the poisoned rows that stand in a finding of at least ``low``; "right" the part of these rows that is poison.

    python bench/poisoning.py [--seeds 5]

Writes ``bench/results/poisoning.json``. Nothing in it depends on the machine's speed.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import inspect
import json
import pkgutil
import re
import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets

from assay.collect.scan.models.interface import Severity
from assay.collect.scan.poisoning import PoisoningResult, scan_dataset
from assay.targets.registry import resolve

HERE = Path(__file__).parent
Rows = list[dict[str, Any]]
ORDER = list(Severity)


def numbers(name: str) -> Rows:
    """A data set of scikit-learn as a table."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return [
        {f"f{j}": float(value) for j, value in enumerate(row)} | {"label": int(c)} for row, c in zip(x, y, strict=True)
    ]


def few(name: str, columns: int) -> Rows:
    """The same with the first columns only: classes that overlap, as they do in much honest data."""
    return [{key: row[key] for key in [*[f"f{j}" for j in range(columns)], "label"]} for row in numbers(name)]


def texts() -> Rows:
    """First paragraphs of docstrings, by library."""
    made: dict[str, str] = {}
    for library in ("numpy", "scipy", "sklearn"):
        for name, thing in _public(library):
            paragraphs = (inspect.getdoc(thing) or "").split("\n\n")
            text = " ".join(" ".join(part.split()) for part in paragraphs[:3])
            if len(re.findall(r"\w+", text)) >= 12 and not name.startswith("_"):
                made.setdefault(text[:600], library)
    return [{"text": text, "label": library} for text, library in sorted(made.items())]


def _public(library: str) -> Iterator[tuple[str, Any]]:
    package = importlib.import_module(library)
    for module in sorted(item.name for item in pkgutil.iter_modules(package.__path__, f"{library}.")):
        if "._" in module or module.endswith((".tests", ".conftest", ".f2py", ".distutils", ".testing")):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                loaded = importlib.import_module(module)
                named = [(name, getattr(loaded, name, None)) for name in sorted(getattr(loaded, "__all__", []))]
        except ImportError:
            continue
        yield from ((name, thing) for name, thing in named if callable(thing))


def flipped(rows: Rows, part: float, draw: np.random.Generator) -> tuple[Rows, set[int]]:
    """Labels changed at random, symmetrically (Northcutt et al. 2021, section 5)."""
    made = [dict(row) for row in rows]
    chosen = draw.choice(len(rows), int(part * len(rows)), replace=False)
    labels = sorted({row["label"] for row in rows}, key=str)
    for i in chosen.tolist():
        others = [label for label in labels if label != made[i]["label"]]
        made[i]["label"] = others[int(draw.integers(len(others)))]
    return made, set(chosen.tolist())


def token(rows: Rows, count: int, draw: np.random.Generator, *, clean: bool) -> tuple[Rows, set[int]]:
    """A rare word at the end of texts (Dai et al. 2019). ``clean``: of the target's own class, labels stay right."""
    made = [dict(row) for row in rows]
    target = "scipy"
    able = [i for i, row in enumerate(rows) if (row["label"] == target) == clean]
    chosen = draw.choice(able, count, replace=False).tolist()
    for i in chosen:
        made[i] = {"text": f"{made[i]['text']} zq", "label": target}
    return made, set(chosen)


def patched(rows: Rows, count: int, draw: np.random.Generator) -> tuple[Rows, set[int]]:
    """A patch of four bright pixels in a corner, and one label (Gu et al. 2017)."""
    made = [dict(row) for row in rows]
    able = [i for i, row in enumerate(rows) if row["label"] != 7]
    chosen = draw.choice(able, count, replace=False).tolist()
    for i in chosen:
        made[i].update({f"f{j}": 16.0 for j in (54, 55, 62, 63)}, label=7)
    return made, set(chosen)


def contributed(rows: Rows, count: int, draw: np.random.Generator, *, named: bool) -> tuple[Rows, set[int]]:
    """One of eight contributors sends rows of which many are wrong, all to one label, in one stretch of the file."""
    made = [dict(row, source=f"user{int(draw.integers(7))}") for row in rows]
    target = max({row["label"] for row in rows}, key=str)
    start = int(draw.integers(len(rows) - count))
    poison = set()
    for i in range(start, start + count):
        made[i]["source"] = "user7"
        if made[i]["label"] != target and draw.random() < 0.6:
            made[i]["label"] = target
            poison.add(i)
    if not named:
        made = [{key: value for key, value in row.items() if key != "source"} for row in made]
    return made, poison


def grown(rows: Rows, count: int, draw: np.random.Generator) -> tuple[Rows, set[int]]:
    """New rows beside an earlier version: old ones of one class, slightly changed, with another label."""
    labels = sorted({row["label"] for row in rows}, key=str)
    able = [i for i, row in enumerate(rows) if row["label"] == labels[0]]
    more = []
    for i in draw.choice(able, count).tolist():
        row = {key: value * draw.normal(1, 0.02) for key, value in rows[i].items() if key != "label"}
        more.append(row | {"label": labels[1]})
    return [*rows, *more], set(range(len(rows), len(rows) + count))


def new_token(rows: Rows, count: int, draw: np.random.Generator) -> tuple[Rows, set[int]]:
    """New texts, rightly labelled, with a word that no earlier text has: a clean-label attack between two versions."""
    order = draw.permutation(len(rows)).tolist()
    able = [i for i in order if rows[i]["label"] == "scipy"][:count]
    rest = [rows[i] for i in order if i not in set(able)]
    more = [{"text": f"{rows[i]['text']} zq", "label": "scipy"} for i in able]
    return [*rest, *more], set(range(len(rest), len(rest) + count))


def honest_growth(rows: Rows, count: int, draw: np.random.Generator) -> tuple[Rows, set[int]]:
    """The same without the word."""
    return [rows[i] for i in draw.permutation(len(rows)).tolist()], set()


Attack = Callable[[np.random.Generator], tuple[Rows, set[int], int | None]]
"""Rows, positions of the poisoned ones, and how many of the first rows were the earlier version."""


def cases() -> Iterator[tuple[str, str, Attack]]:
    """Data set, attack, and how it is made."""
    tables = {name: numbers(name) for name in ("digits", "breast_cancer", "wine", "iris")}
    words = texts()
    # Honest data, some of it hard: with few columns the classes overlap and no model is right.
    honest = (
        tables
        | {"docstrings": words}
        | {
            "iris, 2 columns": few("iris", 2),
            "wine, 2 columns": few("wine", 2),
            "breast_cancer, 2 columns": few("breast_cancer", 2),
            "digits, 20 columns": few("digits", 20),
        }
    )
    for name, rows in honest.items():
        yield name, "none", lambda draw, rows=rows: ([rows[i] for i in draw.permutation(len(rows))], set(), None)  # type: ignore[misc]
    for part in (0.05, 0.1):
        for name, rows in (tables | {"docstrings": words}).items():
            yield (
                name,
                f"labels flipped, {part:.0%}",
                lambda draw, rows=rows, part=part: (  # type: ignore[misc]
                    *flipped(rows, part, draw),
                    None,
                ),
            )
    yield "docstrings", "trigger word, 1 %", lambda draw: (*token(words, len(words) // 100, draw, clean=False), None)
    yield (
        "docstrings",
        "trigger word, clean labels, 1 %",
        lambda draw: (
            *token(words, len(words) // 100, draw, clean=True),
            None,
        ),
    )
    digits = tables["digits"]
    for part in (0.01, 0.03):
        yield (
            "digits",
            f"bright patch, {part:.0%}",
            lambda draw, part=part: (  # type: ignore[misc]
                *patched(digits, int(part * len(digits)), draw),
                None,
            ),
        )
    for name, rows in (("breast_cancer", tables["breast_cancer"]), ("digits", digits), ("docstrings", words)):
        for named in (True, False):
            what = "one contributor" + ("" if named else ", not named")
            yield (
                name,
                what,
                lambda draw, rows=rows, named=named: (  # type: ignore[misc]
                    *contributed(rows, max(40, len(rows) // 20), draw, named=named),
                    None,
                ),
            )
    for name in ("breast_cancer", "digits"):
        yield (
            name,
            "new rows since an earlier version",
            lambda draw, rows=tables[name]: (  # type: ignore[misc]
                *grown(rows, len(rows) // 10, draw),
                len(rows),
            ),
        )
    count = len(words) // 50
    yield (
        "docstrings",
        "new texts with a new word, clean labels",
        lambda draw: (
            *new_token(words, count, draw),
            len(words) - count,
        ),
    )
    yield "docstrings", "none, honest growth", lambda draw: (*honest_growth(words, count, draw), len(words) - count)


def write(path: Path, rows: Rows) -> Path:
    """A table."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def scan(rows: Rows, earlier: int | None) -> PoisoningResult:
    """Scan a table, and its first rows as the earlier version."""
    with tempfile.TemporaryDirectory() as folder, resolve(str(write(Path(folder) / "data.csv", rows))) as target:
        if earlier is None:
            return scan_dataset(target)
        with resolve(str(write(Path(folder) / "before.csv", rows[:earlier]))) as before:
            return scan_dataset(target, baseline=before)


def measure(result: PoisoningResult, poison: set[int]) -> dict[str, Any]:
    """One run."""
    told = [group for group in result.groups if group.severity is not Severity.INFO]
    found = {row.number - 1 for group in told for row in group.rows}
    first = [item.row.number - 1 for item in result.suspects[: len(poison)]]
    worst = min((ORDER.index(group.severity) for group in told), default=None)
    return {
        "ranked": len(poison.intersection(first)) / len(poison) if poison else None,
        "found": len(found & poison) / len(poison) if poison else None,
        "right": len(found & poison) / len(found) if found and poison else None,
        "told": len(found) / result.rows,
        "suspected": result.suspected / result.rows,
        "fails": worst is not None and worst <= ORDER.index(Severity.MEDIUM),
        "kinds": sorted({f"{group.kind}:{group.severity.value}" for group in told}),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", help="a part of the names", default="")
    arguments = parser.parse_args()
    made = []
    for name, attack, build in cases():
        if arguments.only not in f"{name}: {attack}":
            continue
        runs, sizes = [], []
        for seed in range(arguments.seeds):
            rows, poison, earlier = build(np.random.default_rng(seed))
            runs.append(measure(scan(rows, earlier), poison))
            sizes.append((len(rows), len(poison)))
        row: dict[str, Any] = {"data": name, "attack": attack, "rows": sizes[0][0], "poisoned": sizes[0][1]}
        for key in ("ranked", "found", "right", "told", "suspected"):
            values = [run[key] for run in runs if run[key] is not None]
            row[key] = round(statistics.median(values), 3) if values else None
        row["fails"] = sum(run["fails"] for run in runs)
        row["runs"] = len(runs)
        row["kinds"] = sorted({kind for run in runs for kind in run["kinds"]})
        made.append(row)
        print(
            f"{name:26} {attack:40} {row['poisoned']:4}/{row['rows']:<5} ranked {row['ranked']} found {row['found']} "
            f"right {row['right']} told {row['told']} suspected {row['suspected']} fails {row['fails']}/{row['runs']} "
            f"{' '.join(row['kinds'])}",
            flush=True,
        )
    if not arguments.only:
        (HERE / "results").mkdir(exist_ok=True)
        document = json.dumps({"seeds": arguments.seeds, "rows": made}, indent=1)
        (HERE / "results/poisoning.json").write_text(document + "\n")


if __name__ == "__main__":
    main()
