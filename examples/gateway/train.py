"""Trains the bank's model on ``train.parquet``; writes ``model/model.joblib``."""

from __future__ import annotations

from pathlib import Path

import joblib
import polars as pl
from sklearn.ensemble import RandomForestClassifier

if __name__ == "__main__":
    frame = pl.read_parquet("train.parquet")
    columns = [name for name in frame.columns if name != "defaulted"]
    model = RandomForestClassifier(60, min_samples_leaf=2, random_state=0)
    model.fit(frame.select(columns).to_numpy(), frame["defaulted"].to_numpy())
    Path("model").mkdir(exist_ok=True)
    joblib.dump(model, "model/model.joblib")
    held = pl.read_parquet("holdout.parquet")
    right = (model.predict(held.select(columns).to_numpy()) == held["defaulted"].to_numpy()).mean()
    print(f"model/model.joblib: right for {right:.0%} of loans that it has never seen")
