"""Writes the demo's data set: a real one that comes with scikit-learn, as a CSV file with a card."""

from __future__ import annotations

import sys
from pathlib import Path

from sklearn.datasets import load_breast_cancer

CARD = """---
license: cc-by-4.0
task_categories: [tabular-classification]
---
Breast Cancer Wisconsin (Diagnostic), Wolberg, Mangasarian, Street and Street, UCI, 1993.
"""


def main(folder: Path) -> None:
    """Write it into ``folder``."""
    source = load_breast_cancer()
    header = ",".join([*(name.replace(" ", "_") for name in source.feature_names), "diagnosis"])
    rows = [
        ",".join([*map(repr, map(float, row)), source.target_names[label]])
        for row, label in zip(source.data, source.target, strict=True)
    ]
    folder.mkdir(parents=True)
    (folder / "data.csv").write_text("\n".join([header, *rows]) + "\n")
    (folder / "README.md").write_text(CARD)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
