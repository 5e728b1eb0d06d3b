"""Writes a small bank's loans: what its model is trained on, and others that it has never seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl


def loans(random: np.random.Generator, rows: int) -> pl.DataFrame:
    """People who ask for a loan; ``defaulted`` is 1 where it was not paid back."""
    age = np.clip(random.normal(47, 13, rows), 18, 95).round().astype(int)
    income = np.exp(random.normal(10.3, 0.45, rows)).round(2)
    amount = np.exp(random.normal(8.6, 0.6, rows)).round(2)
    months = random.choice([12, 24, 36, 48, 60], rows)
    children = np.minimum(random.poisson(1.1, rows), 6)
    late = random.poisson(0.4, rows)
    burden = amount / income * (36 / months) ** 0.5
    score = 7.0 * (burden - 0.25) - 0.02 * (age - 45) + 0.6 * late + 0.1 * children - 0.5
    defaulted = (random.random(rows) < 1 / (1 + np.exp(-2.5 * score))).astype(int)
    named = {"age": age, "income": income, "amount": amount, "months": months, "children": children, "late": late}
    return pl.DataFrame(named | {"defaulted": defaulted})


if __name__ == "__main__":
    random = np.random.default_rng(7)
    for name, rows in (("train", 4_000), ("holdout", 2_000), ("requests", 12_000)):
        loans(random, rows).write_parquet(Path(f"{name}.parquet"))
