"""Trains the bank's model on ``train.parquet``; writes ``model/model.joblib``.

``python train.py 20`` keeps at least so many loans in each leaf, so that it learns no single one by heart.
"""

from __future__ import annotations

import sys
from pathlib import Path

import joblib
import polars as pl
from sklearn.ensemble import RandomForestClassifier

if __name__ == "__main__":
    frame = pl.read_parquet("train.parquet")
    columns = [name for name in frame.columns if name != "defaulted"]
    least = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    model = RandomForestClassifier(60, min_samples_leaf=least, random_state=0)
    model.fit(frame.select(columns).to_numpy(), frame["defaulted"].to_numpy())
    Path("model").mkdir(exist_ok=True)
    joblib.dump(model, "model/model.joblib")
    held = pl.read_parquet("holdout.parquet")
    right = (model.predict(held.select(columns).to_numpy()) == held["defaulted"].to_numpy()).mean()
    print(f"model/model.joblib: right for {right:.0%} of loans that it has never seen")
