"""Honest models of XGBoost, LightGBM and CatBoost: their native files, and their pickles."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corpus.sample import Draft, honest


def drafts() -> Iterator[Draft]:
    """All of them."""
    from sklearn.datasets import load_iris

    x, y = load_iris(return_X_y=True)
    x, y = x[::3], y[::3]
    with tempfile.TemporaryDirectory() as folder:
        yield from xgboost(Path(folder), x, y)
        yield from lightgbm(Path(folder), x, y)
        yield from catboost(Path(folder), x, y)


def xgboost(folder: Path, x: Any, y: Any) -> Iterator[Draft]:
    """JSON, UBJSON, and pickles of boosters and wrappers."""
    import xgboost as library

    for kind, model in (
        ("classifier", library.XGBClassifier(n_estimators=3, n_jobs=1)),
        ("regressor", library.XGBRegressor(n_estimators=3, n_jobs=1)),
        ("linear", library.XGBRegressor(n_estimators=3, booster="gblinear", n_jobs=1)),
        ("forest", library.XGBRFClassifier(n_estimators=3, n_jobs=1)),
    ):
        model.fit(x, y)
        yield honest(f"xgboost-pickle-{kind}", "model.pkl", pickle.dumps(model), "pickle")
        for extension in ("json", "ubj"):
            path = folder / f"model.{extension}"
            model.get_booster().save_model(path)
            yield honest(f"xgboost-{extension}-{kind}", path.name, path.read_bytes(), "xgboost", "other")
    yield honest("xgboost-pickle-booster", "booster.pkl", pickle.dumps(model.get_booster(), 2), "pickle")


def lightgbm(folder: Path, x: Any, y: Any) -> Iterator[Draft]:
    """Text, and pickles."""
    import lightgbm as library

    for kind, model in (
        ("classifier", library.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1, random_state=0)),
        ("regressor", library.LGBMRegressor(n_estimators=3, n_jobs=1, verbose=-1, random_state=0)),
    ):
        model.fit(x, y)
        yield honest(f"lightgbm-pickle-{kind}", "model.pkl", pickle.dumps(model), "pickle")
        model.booster_.save_model(folder / "model.txt")
        yield honest(f"lightgbm-{kind}", "model.txt", (folder / "model.txt").read_bytes(), "lightgbm", "other")
    yield honest("lightgbm-pickle-booster", "booster.pkl", pickle.dumps(model.booster_), "pickle")


def catboost(folder: Path, x: Any, y: Any) -> Iterator[Draft]:
    """Its binary format, JSON, and pickles."""
    import catboost as library

    options = {
        "iterations": 3,
        "depth": 2,
        "verbose": False,
        "allow_writing_files": False,
        "thread_count": 1,
        "random_seed": 0,
    }
    for kind, model in (
        ("classifier", library.CatBoostClassifier(**options)),
        ("regressor", library.CatBoostRegressor(**options)),
    ):
        model.fit(x, y)
        yield honest(f"catboost-pickle-{kind}", "model.pkl", pickle.dumps(model), "pickle")
        for format_ in ("cbm", "json"):
            path = folder / f"model.{format_}"
            model.save_model(str(path), format=format_)
            yield honest(f"catboost-{format_}-{kind}", path.name, path.read_bytes(), "catboost", "other")
