"""Tables for the tests, and their profiles, made by the engine itself."""

from __future__ import annotations

import numpy as np
import polars as pl

from assay.collect.profile.interface import Profile, Spec
from assay.collect.profile.partial import decode, partial
from assay.collect.profile.spec import specify


def profile(frame: pl.DataFrame, spec: Spec | None = None, *, labels: int | None = None) -> Profile:
    """Of a table, with its own spec or a baseline's."""
    return decode(partial(frame, spec or specify(frame)), labels=labels)


def table(rows: int, seed: int = 0) -> pl.DataFrame:
    """A table like those that people monitor: skewed, discrete, rare, incomplete and constant columns, and a key."""
    random = np.random.default_rng(seed)
    amount = pl.Series(random.lognormal(3, 1.2, rows))
    return pl.DataFrame(
        {
            "age": np.clip(random.normal(40, 14, rows), 0, 110).astype(np.int64),
            "amount": amount.scatter(np.flatnonzero(random.random(rows) < 0.02), None),
            "temperature": random.normal(12, 8, rows),
            "pressure": random.normal(1e6, 1, rows),
            "pareto": random.pareto(1.1, rows),
            "count": random.poisson(0.4, rows).astype(np.int64),
            "share": random.beta(2, 5, rows),
            "when": 1.7e9 + seed * 1e6 + np.sort(random.random(rows)) * 1e6,
            "id": np.arange(rows, dtype=np.int64) + seed * 10_000_000,
            "country": random.choice(["de", "fr", "it", "es", "pt"], rows, p=[0.6, 0.2, 0.15, 0.045, 0.005]),
            "city": [f"city-{min(int(number), 5000)}" for number in random.pareto(0.6, rows)],
            "session": [f"{seed}-{number:x}" for number in random.integers(0, 1 << 60, rows)],
            "flag": random.random(rows) < 0.03,
            "fixed": np.full(rows, 7.5),
            "empty": pl.Series([None] * rows, dtype=pl.Float64),
        }
    )
