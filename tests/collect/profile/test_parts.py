import numpy as np
import polars as pl
import pytest

from assay.collect.profile.build import profile
from assay.collect.profile.partial import decode, merge, partial
from assay.collect.profile.parts import LEAST, MOST, parts
from assay.collect.profile.sources.opening import open_source


@pytest.mark.parametrize("rows", [0, LEAST - 1, LEAST, 2_399, 4_800, 4_801, 50_000])
def test_parts_are_contiguous_and_of_one_size(rows):
    frame = pl.DataFrame({"x": np.arange(rows, dtype=np.float64), "c": ["a", "b"] * (rows // 2) + ["a"] * (rows % 2)})
    spec = profile(open_source(pl.DataFrame({"x": [0.5, 1.5], "c": ["a", "b"]}))).spec
    made = parts(open_source(frame), spec)
    sizes = {decode(state).rows for state in made}
    assert len(sizes) <= 1
    assert len(made) < MOST
    assert len(made) >= min(MOST // 2, rows // LEAST)
    size = sizes.pop() if sizes else 0
    for number, state in enumerate(made):
        assert state == partial(frame.slice(number * size, size), spec)
    if made:
        assert merge(*made) == partial(frame.head(len(made) * size), spec)


def test_frames_of_any_size_make_the_same_parts(tmp_path):
    frame = pl.DataFrame({"x": np.random.default_rng(0).normal(size=20_000)})
    frame.write_parquet(tmp_path / "small.parquet", row_group_size=333)
    frame.write_parquet(tmp_path / "large.parquet")
    spec = profile(open_source(frame)).spec
    small, large = (parts(open_source(str(tmp_path / name)), spec) for name in ("small.parquet", "large.parquet"))
    assert small == large
