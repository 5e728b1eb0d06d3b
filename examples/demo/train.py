"""The demo's training step, as anybody would write it: reads a CSV file, writes a model, its card, its evaluation."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import joblib
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split

CARD = """---
license: mit
library_name: sklearn
pipeline_tag: tabular-classification
datasets:
  - breast-cancer
language: en
metrics:
  - accuracy
model-index:
  - name: tumour-classifier
    results:
      - task: {{type: tabular-classification}}
        dataset: {{name: breast-cancer, type: breast-cancer}}
        metrics:
          - {{type: accuracy, value: {accuracy:.4f}}}
---
# Tumour classifier

A random forest on the Wisconsin diagnostic breast cancer data (569 rows, 30 measurements of cell nuclei), made by
assay's demo. Accuracy on the held-out quarter: {accuracy:.1%}.
"""


def read(folder: Path) -> tuple[list[list[float]], list[int]]:
    """Measurements and diagnoses."""
    with open(folder / "data.csv", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [[float(value) for value in row[:-1]] for row in rows], [int(row[-1] == "benign") for row in rows]


def main(data: Path, model: Path, results: Path) -> None:
    """Train, and write what came out."""
    measurements, diagnoses = read(data)
    x, x_test, y, y_test = train_test_split(measurements, diagnoses, random_state=0, stratify=diagnoses)
    forest = RandomForestClassifier(n_estimators=50, random_state=0).fit(x, y)
    accuracy = float(accuracy_score(y_test, forest.predict(x_test)))
    joblib.dump(forest, model / "model.joblib")
    (model / "README.md").write_text(CARD.format(accuracy=accuracy))
    evaluation = {"dataset": "breast-cancer, held-out quarter", "metrics": {"accuracy": accuracy}}
    (results / "evaluation.json").write_text(json.dumps(evaluation, indent=2))
    print(f"accuracy {accuracy:.1%}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
