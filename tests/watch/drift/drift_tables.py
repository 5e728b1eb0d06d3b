"""Tables with known distributions, and their profiles by the real engine."""

import numpy as np
import polars as pl

from assay.collect.profile.interface import Profile, Spec
from assay.collect.profile.partial import decode, partial
from assay.collect.profile.spec import specify

CARDINALITIES = {"sex": 2, "channel": 5, "month": 12, "state": 51, "category": 200}


def profile(frame: pl.DataFrame, spec: Spec | None = None) -> Profile:
    return decode(partial(frame, spec or specify(frame)))


def pair(baseline: pl.DataFrame, current: pl.DataFrame) -> tuple[Profile, Profile]:
    spec = specify(baseline)
    return profile(baseline, spec), profile(current, spec)


def table(rows: int, seed: int, *, drifted: bool = False) -> pl.DataFrame:
    """17 columns as in the benchmark: of the drifted ones `balance`, `score_a` and `channel` have moved a little."""
    random = np.random.default_rng(seed)
    columns = {
        "amount": random.lognormal(3, 1.2, rows),
        "balance": random.normal(1_000 + (17 if drifted else 0), 250, rows),
        "score_a": random.beta(2.15, 4.6, rows) if drifted else random.beta(2, 5, rows),
        "lat": random.normal(47, 3, rows),
        "lon": random.uniform(-10, 30, rows),
        "gamma": random.gamma(2, 3, rows),
        "heavy": random.standard_t(2, rows),
        "offset": random.normal(1e6, 1, rows),
        "age": random.integers(18, 90, rows),
        "visits": random.poisson(3, rows),
        "time": 1_700_000_000 + random.integers(0, 30 * 86_400, rows),
        "flag": random.binomial(1, 0.1, rows),
    }
    for name, count in CARDINALITIES.items():
        weights = np.arange(1, count + 1) ** -0.8
        weights /= weights.sum()
        if drifted and name == "channel":
            weights[:2] += (-0.036, 0.036)
        labels = np.array([f"{name} {number}" for number in range(count)])
        columns[name] = labels[random.choice(count, rows, p=weights)]
    frame = pl.DataFrame(columns)
    gaps = [
        pl.when(pl.lit(random.random(rows) < 0.03)).then(None).otherwise(pl.col(n)).alias(n) for n in ("lat", "month")
    ]
    return frame.with_columns(gaps)
