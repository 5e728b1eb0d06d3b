"""The table that `bench/watch.py` measures on: seeded, 12 numeric columns and 8 of strings, with three small drifts.

Drift of the current window: ``balance`` moves by 0.068 standard deviations (KS 0.027 in expectation), ``score_a`` goes
from Beta(2, 5) to Beta(2.15, 4.6) (KS 0.08), and two of ``channel``'s weights change (L-infinity 0.036). Nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

GROUP = 262_144
"""Rows per row group."""

WIDE = ("merchant", "zip", "device_id")
"""Columns of strings with 5,000, 40,000 and 600,000 categories."""

DRIFTED = ("balance", "score_a", "channel")
"""What differs between the two windows."""

CARDINALITY = {
    "is_new": 2,
    "channel": 5,
    "segment": 12,
    "state": 51,
    "category": 200,
    "merchant": 5_000,
    "zip": 40_000,
    "device_id": 600_000,
}

MISSING = {"balance": 0.02, "score_b": 0.05, "lat": 0.01, "ratio": 0.1, "visits": 0.03, "segment": 0.02, "state": 0.01}
MISSING["merchant"] = 0.04

CHANNEL = np.array([0.40, 0.25, 0.15, 0.12, 0.08])
CHANNEL_DRIFTED = CHANNEL + np.array([-0.036, 0.036, 0.0, 0.0, 0.0])


FLOATS = ("amount", "balance", "score_a", "score_b", "lat", "lon", "ratio", "level")
INTEGERS = ("age", "visits", "hour", "paid_at")


def names() -> list[str]:
    """All 20 columns, in order."""
    return [*FLOATS, *INTEGERS, *CARDINALITY]


def _shares(name: str, drifted: bool) -> np.ndarray:
    """How often each category of a column occurs."""
    if name == "channel":
        return CHANNEL_DRIFTED if drifted else CHANNEL
    weights = 1.0 / np.arange(1, CARDINALITY[name] + 1) ** 0.7
    return np.asarray(weights / weights.sum())


def group(rows: int, seed: int, drifted: bool) -> pa.Table:
    """One row group."""
    rng = np.random.default_rng(seed)
    numbers = {
        "amount": rng.lognormal(3.0, 1.2, rows),
        "balance": rng.normal(1000.0 + (0.068 * 250.0 if drifted else 0.0), 250.0, rows),
        "score_a": rng.beta(2.15, 4.6, rows) if drifted else rng.beta(2.0, 5.0, rows),
        "score_b": rng.beta(5.0, 1.5, rows),
        "lat": rng.normal(40.0, 5.0, rows),
        "lon": rng.uniform(-125.0, -65.0, rows),
        "ratio": rng.gamma(2.0, 0.5, rows),
        "level": rng.normal(1e6, 1.0, rows),
        "age": rng.integers(18, 90, rows),
        "visits": rng.poisson(4.0, rows),
        "hour": rng.integers(0, 24, rows),
        "paid_at": 1_700_000_000 + rng.integers(0, 30 * 86_400, rows),
    }
    columns: dict[str, pa.Array] = {}
    for name, values in numbers.items():
        gone = rng.random(rows) < MISSING[name] if name in MISSING else None
        columns[name] = pa.array(values, mask=gone)
    for name in CARDINALITY:
        codes = np.searchsorted(np.cumsum(_shares(name, drifted)), rng.random(rows)).astype(np.int32)
        codes = np.minimum(codes, CARDINALITY[name] - 1)
        gone = rng.random(rows) < MISSING[name] if name in MISSING else None
        labels = pa.array([f"{name}-{i:06d}" for i in range(CARDINALITY[name])])
        columns[name] = pa.DictionaryArray.from_arrays(pa.array(codes, mask=gone), labels).cast(pa.string())
    return pa.table(columns)


def groups(rows: int, seed: int, *, drifted: bool) -> Iterator[pa.Table]:
    """A window, by row groups. Windows of different seeds have nothing in common."""
    for number, start in enumerate(range(0, rows, GROUP)):
        yield group(min(GROUP, rows - start), seed * 1_000 + number, drifted)


def write(path: Path, rows: int, seed: int, columns: list[str], *, drifted: bool) -> None:
    """A window as Parquet, Snappy."""
    writer = None
    for table in groups(rows, seed, drifted=drifted):
        table = table.select(columns)
        writer = writer or pa.parquet.ParquetWriter(path, table.schema, compression="snappy")
        writer.write_table(table, row_group_size=GROUP)
    assert writer is not None
    writer.close()
