"""What the tests of engines share: a data set of every type in several files, and jobs that are started on it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl

import assay
from assay.collect.profile.accumulate import Accumulator
from assay.collect.profile.build import profile
from assay.collect.profile.interface import Custom, Spec
from assay.collect.profile.partial import decode
from assay.collect.profile.sources.opening import open_source
from assay.collect.profile.spec import specify

ROWS = 24_000
JOBS = Path(__file__).parent


def table() -> pl.DataFrame:
    """Rows of every type, with what each type has that is odd."""
    chance = np.random.default_rng(5)
    numbers = chance.normal(1e6, 3.0, ROWS)
    numbers[::97], numbers[::101], numbers[::103] = np.nan, np.inf, -np.inf
    whole = chance.integers(0, 10**15, ROWS)
    whole[-1] = 4_000_000_000_000_000_000
    index = pl.int_range(0, ROWS, eager=True)
    frame = pl.DataFrame(
        {
            "number": numbers,
            "single": chance.normal(0, 1e-3, ROWS).astype(np.float32),
            "whole": whole,
            "small": chance.integers(-5, 5, ROWS).astype(np.int8),
            "flag": chance.random(ROWS) < 0.3,
            "word": [f"w{n}" for n in chance.zipf(1.5, ROWS) % 50],
            "many": [f"käufer-{n}" for n in chance.integers(0, 9_000, ROWS)],
            "text": [
                f"the {n} lazy dogs are jumping over {n * 7} brown foxes" for n in chance.integers(0, 10**9, ROWS)
            ],
            "money": pl.Series(
                [Decimal(int(n)) / 100 for n in chance.integers(0, 10**6, ROWS)], dtype=pl.Decimal(12, 2)
            ),
            "day": (index % 400).cast(pl.Int32).cast(pl.Date),
            "moment": (index * 7_777_777_777).cast(pl.Datetime("us")),
            "zoned": (index * 1_000_003).cast(pl.Datetime("us", "America/New_York")),
            "bytes": [bytes([n % 251, n % 7]) for n in range(ROWS)],
            "vector": chance.normal(size=(ROWS, 3)).tolist(),
            "tags": [[f"t{n % 3}", "x"] for n in range(ROWS)],
            "nothing": pl.Series([None] * ROWS, dtype=pl.String),
        }
    ).with_columns(nest=pl.struct(a=pl.col("small"), b=pl.col("word")))
    gone = {"number": 11, "whole": 13, "flag": 17, "word": 19, "text": 23, "moment": 29, "vector": 31, "tags": 37}
    return frame.with_columns(
        pl.when(index % every != 0).then(pl.col(name)).alias(name) for name, every in gone.items()
    )


def write(folder: Path) -> None:
    """The rows in six files of different lengths, in row groups."""
    frame, ends = table(), [0, 100, 5_000, 9_000, 9_001, 20_000, ROWS]
    for i, (start, end) in enumerate(itertools.pairwise(ends)):
        frame[start:end].write_parquet(folder / f"part-{i}.parquet", row_group_size=1_500)


def spec_of(frame: pl.DataFrame) -> Spec:
    """A spec of which one column has more different values than are counted one by one, and one is not in the data."""
    flat = frame.head(2_000).unnest("nest", separator=".").with_columns(late=pl.lit(1.5), ratio=pl.col("whole") / 7)
    made = specify(flat.drop("small"), seed=99, customs=[Custom("ratio", sql="whole / 7")])
    return Spec(made.columns, made.seed, 2_000, made.customs)


@dataclass(frozen=True, slots=True)
class Job:
    """What a job left."""

    data: Path
    out: Path

    def local(self, spec: Spec) -> bytes:
        """What this machine computes of the same rows."""
        return profile(open_source(str(self.data)), spec).state

    def spec(self, name: str = "spec") -> Spec:
        """A spec that was used."""
        return decode((self.out / f"{name}.state").read_bytes()).spec

    def state(self, name: str) -> bytes:
        """A profile that was made."""
        return (self.out / f"{name}.out").read_bytes()

    def errors(self) -> dict[str, list[str]]:
        """What went wrong, by what was tried."""
        return json.loads((self.out / "errors.json").read_text())


def run(job: str, folder: Path) -> Job:
    """Write the data and start ``jobs/on_<job>.py`` on them."""
    data, out = folder / "data", folder / "out"
    data.mkdir()
    out.mkdir()
    write(data)
    spec = spec_of(table())
    (out / "spec.state").write_bytes(Accumulator(spec).state())
    source = Path(assay.__file__).parents[1]
    path = os.pathsep.join([str(JOBS), str(source), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(JOBS / "jobs" / f"on_{job}.py"), str(data), str(out)],
        env={**os.environ, "PYTHONPATH": path, "HOME": str(folder), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return Job(data, out)
