"""Trains the bank's model on labelled loans: ``python train.py LABELLED...``; writes ``model/model.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression

NUMBERS = ["age", "income", "amount"]


def main(files: list[str]) -> None:
    """Train on all rows of ``files``."""
    frame = pl.concat([pl.read_parquet(file).select(*NUMBERS, "defaulted") for file in files])
    x = np.column_stack([frame["age"], np.log(frame["income"]), np.log(frame["amount"])])
    model = LogisticRegression(max_iter=1_000).fit(x, frame["defaulted"].to_numpy())
    Path("model").mkdir(exist_ok=True)
    weights = {"coefficients": model.coef_[0].tolist(), "intercept": float(model.intercept_[0])}
    Path("model/model.json").write_text(json.dumps(weights, indent=2) + "\n")
    print(f"trained on {len(frame):,} rows")


if __name__ == "__main__":
    main(sys.argv[1:])
