"""What Dask does that others do not: the scheduler of this process, partitions of pandas' own types, and its errors."""

from __future__ import annotations

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask.delayed import delayed

from assay.collect.profile.build import profile as local
from assay.collect.profile.engines import carrying
from assay.collect.profile.engines.carrying import fold
from assay.collect.profile.engines.running import profile, specification
from assay.collect.profile.partial import decode, merge
from assay.collect.profile.sources.opening import open_source
from assay.errors import DocumentError, MissingExtraError, UndecidedError

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def frame(rows: int = 1000) -> pd.DataFrame:
    """A table of pandas' own types."""
    chance = np.random.default_rng(3)
    numbers = chance.normal(size=rows)
    numbers[::10] = np.nan
    words = pd.Series([f"w{n}" for n in chance.integers(0, 9, rows)])
    return pd.DataFrame({"number": numbers, "word": words.astype("category"), "whole": range(rows)})


@pytest.mark.parametrize("parts", [1, 7, 100])
def test_any_number_of_partitions_gives_the_same_bytes(parts: int) -> None:
    data = dd.from_pandas(frame(), npartitions=parts, sort=False)
    spec = specification(data, seed=1)
    assert profile(data, spec) == local(open_source(frame()), spec).state


def test_the_first_rows_are_those_of_as_many_partitions_as_it_takes() -> None:
    parts = [frame(0)] * 40 + [frame(5)] * 3 + [frame(0)] * 3 + [frame(20_000)]
    data = dd.from_delayed([delayed(part) for part in parts], meta=frame(0), verify_meta=False)
    spec = specification(data, seed=1)
    assert spec.columns[2].centre > 4_000  # it saw more than the first five rows
    assert decode(profile(data, spec)).rows == 20_015


def test_a_seed_is_drawn_where_none_is_given() -> None:
    data = dd.from_pandas(frame(), npartitions=2)
    one, other = specification(data), specification(data)
    assert one.seed != other.seed
    assert one.columns == other.columns


def test_what_an_engine_raises_is_a_sentence() -> None:
    def broken() -> pd.DataFrame:
        raise OSError("the disk under the lake\nis gone")

    data = dd.from_delayed([delayed(broken)()], meta=frame(0), verify_meta=False)
    good = specification(dd.from_pandas(frame(), npartitions=1), seed=1)
    with pytest.raises(UndecidedError, match="the cluster gave no answer: OSError: the disk under the lake") as told:
        profile(data, good)
    assert isinstance(told.value.__cause__, OSError)
    with pytest.raises(UndecidedError, match="the cluster gave no answer"):
        specification(data)


def test_a_failure_is_never_merged_into_a_state() -> None:
    """One task of many fails, wherever it stands: there is no profile of the others."""
    data = dd.from_pandas(frame(100), npartitions=50, sort=False)
    state = profile(data, specification(data, seed=1))

    def part(tables: object) -> bytes | None:
        (table,) = tables  # type: ignore[misc]
        if (table["whole"] == 57).any():
            raise DocumentError("this part is damaged", hint="look at it")
        return state

    with pytest.raises(DocumentError, match="this part is damaged") as told:
        fold(data, part, merge)
    assert told.value.hint == "look at it"


def test_errors_of_every_class_come_back_as_what_they_are() -> None:
    error = carrying._error(carrying._failure(MissingExtraError("reading it", "data")))
    assert isinstance(error, MissingExtraError)
    assert error.exit_code == 3
    assert str(error) == str(MissingExtraError("reading it", "data"))


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b'["UsageError"]', b'["__builtins__","a",null]'])
def test_a_failure_that_nobody_wrote_is_still_an_error(said: bytes) -> None:
    assert type(carrying._error(carrying.MAGIC + said)).__name__ in ("DocumentError", "AssayError")


def test_the_last_named_error_of_a_long_story_is_told() -> None:
    story = "Job aborted:\nTraceback (most recent call last):\n  File x\nModuleNotFoundError: No module named 'assay'\n"
    assert "ModuleNotFoundError: No module named 'assay'" in carrying.stopped(RuntimeError(story)).message
