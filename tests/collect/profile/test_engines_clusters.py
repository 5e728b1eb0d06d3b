"""Spark, Dask and Ray Data compute the very bytes that one machine computes, and fail with sentences.

Each engine is started for real, by a job of its own process, as a user's is: see ``jobs/``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from assay.collect.profile.build import profile
from assay.collect.profile.engines.registry import engine
from assay.collect.profile.engines.running import specification
from assay.collect.profile.partial import decode
from assay.collect.profile.sources.opening import open_source
from assay.errors import UsageError
from collect.profile.engines_making import ROWS, run, table

LIBRARIES = {"spark": "pyspark", "dask": "distributed"}
if importlib.util.find_spec("ray") is not None:  # heavy, and of the same kind: tested where somebody has it
    LIBRARIES["ray"] = "ray"


def absent(name: str) -> str:
    """What this machine lacks for an engine."""
    if importlib.util.find_spec(LIBRARIES[name]) is None:
        return f"{LIBRARIES[name]} is not installed"
    java = shutil.which("java") or os.environ.get("JAVA_HOME")
    return "there is no Java for Spark" if name == "spark" and not java else ""


@pytest.mark.slow
@pytest.mark.parametrize("name", LIBRARIES)
def test_a_cluster_computes_what_one_machine_does(name: str, tmp_path: Path) -> None:
    if reason := absent(name):
        pytest.skip(reason)
    job = run(name, tmp_path)
    whole = job.local(job.spec())
    assert decode(whole).rows == ROWS
    assert {"small", "nest.a", "nest.b"} & set(decode(whole).columns) == {"nest.a", "nest.b"}
    for form in ("as-read", "one", "many"):
        assert job.state(form) == whole, form
    # A spec that the engine chose from its own first rows: the same on this machine.
    assert job.state("own") == job.local(job.spec("own-spec"))
    assert decode(job.state("own")).columns["ratio"].count == ROWS - -(-ROWS // 13)  # type: ignore[union-attr]
    # No rows at all: still the names of the columns.
    nothing = profile(open_source(table().clear()), job.spec()).state
    assert decode(job.state("empty")).absent == decode(nothing).absent == {"late"}
    assert job.state("empty") == nothing
    errors = job.errors()
    assert errors["no rows"] == ["UndecidedError", "the data set has no rows to learn from"]
    assert errors["two names"] == ["DocumentError", "the data set has two columns named 'nest.a'"]
    assert errors["not allowed"][0] == "RejectedError"
    assert "jobs.functions:picky" in errors["not allowed"][1]
    # Raised in a task on the last row, and told as if it had been raised here.
    assert errors["in a task"] == [
        "UsageError",
        "jobs.functions:picky failed: ValueError: such a number was never agreed",
    ]


@pytest.mark.parametrize("thing", [pl.DataFrame({"a": [1]}), "data.parquet", None, [1, 2]])
def test_what_is_on_no_cluster_is_refused(thing: object) -> None:
    with pytest.raises(UsageError, match="is no data set of a cluster"):
        engine(thing)
    with pytest.raises(UsageError, match="is no data set of a cluster"):
        specification(thing)
