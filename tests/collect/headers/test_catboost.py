"""CatBoost's models, written by CatBoost itself, and hostile FlatBuffers."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.headers.catboost import CatBoostReader
from assay.collect.headers.flatbuffer import FlatBuffer
from assay.collect.headers.interface import ModelFile
from assay.errors import DocumentError


def read(data: bytes) -> ModelFile:
    return CatBoostReader().read("model.cbm", io.BytesIO(data), len(data))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    import catboost

    random = np.random.default_rng(0)
    numbers = random.normal(size=(80, 3))
    labels = [int(i % 9 in (1, 4, 7)) for i in range(80)]
    rows = [[*map(float, row), f"kind {i % 9}"] for i, row in enumerate(numbers)]
    pool = catboost.Pool(rows, labels, cat_features=[3], feature_names=["a", "b", "c", "kind"])
    # One-hot encoding off: the category becomes a statistic, and the JSON starts with its tables.
    mixed = catboost.CatBoostClassifier(
        iterations=5, depth=2, verbose=0, allow_writing_files=False, one_hot_max_size=1, random_seed=1
    ).fit(pool)
    lossguide = catboost.CatBoostRegressor(
        iterations=4, verbose=0, allow_writing_files=False, grow_policy="Lossguide", max_leaves=4
    ).fit(numbers, numbers[:, 1])
    folder = tmp_path_factory.mktemp("catboost")
    written = {}
    for name, model in (("mixed", mixed), ("lossguide", lossguide)):
        for form in ("cbm", "json"):
            path = folder / f"{name}.{form}"
            model.save_model(str(path), format=form, pool=pool if name == "mixed" else None)
            written[f"{name}.{form}"] = Path(path).read_bytes()
    return written


@pytest.mark.parametrize("form", ["cbm", "json"])
def test_what_catboost_writes(models: dict[str, bytes], form: str) -> None:
    import catboost

    data = models[f"mixed.{form}"]
    assert CatBoostReader().recognises("model", data[:4096])
    found = read(data)
    assert not found.warnings
    assert found.format == "catboost"
    assert found.architecture == "SymmetricTree"
    assert found.metadata["objective"] == "Logloss"
    assert found.metadata["trees"] == "5"
    assert found.metadata["depth"] == "2"
    assert found.metadata["features"] == "4"
    assert found.metadata["float_features"] == "3"
    assert found.metadata["categorical_features"] == "1"
    assert found.metadata["feature_names"] == "a, b, c, kind"
    assert found.metadata["version"] == catboost.__version__


@pytest.mark.parametrize("form", ["cbm", "json"])
def test_trees_that_are_not_symmetric(models: dict[str, bytes], form: str) -> None:
    found = read(models[f"lossguide.{form}"])
    assert found.architecture == "Lossguide"
    assert found.metadata["objective"] == "RMSE"
    assert found.metadata["trees"] == "4"
    assert not found.warnings


def test_the_category_tables_come_first_in_the_json(models: dict[str, bytes]) -> None:
    assert next(iter(json.loads(models["mixed.json"]))) == "ctr_data"


def test_cut_off_and_lying_lengths(models: dict[str, bytes]) -> None:
    data = models["mixed.cbm"]
    assert "claims" in read(data[:200]).warnings[0]
    assert "claims 4294967295 bytes" in read(b"CBM1" + b"\xff" * 4 + data[8:]).warnings[0]
    assert "ends within" in read(b"CBM1").warnings[0]


def test_many_pointers_to_one_long_text_do_not_multiply_it() -> None:
    key, value = b"unknown", b"x" * (1 << 20)
    count = 4096
    # Root table with three fields; its third is a vector of `count` offsets to one table (key, value).
    core = bytearray()
    core += struct.pack("<I", 16)  # offset of the root table
    core += struct.pack("<HHHHH", 10, 8, 0, 0, 4) + b"\0\0"  # vtable: size, table size, fields 0 to 2
    assert len(core) == 16
    core += struct.pack("<iI", 12, 4)  # table: back to the vtable; field 2 is four bytes further on
    vector = len(core)
    pair = vector + 4 + 4 * count + 8
    core += struct.pack("<I", count)
    for i in range(count):
        core += struct.pack("<I", pair - (vector + 4 + 4 * i))
    core += struct.pack("<HHHH", 8, 12, 4, 8)  # the pair's vtable
    texts = pair + 12
    core += struct.pack("<iII", 8, texts - (pair + 4), texts + 4 + len(key) + 1 - (pair + 8))
    core += struct.pack("<I", len(key)) + key + b"\0" + struct.pack("<I", len(value)) + value
    table = FlatBuffer(io.BytesIO(bytes(core)), 0, len(core)).root()
    assert len(table.tables(2, 5000)) == count
    assert table.tables(2, 1)[0].text(1, 4 << 20) == value.decode()
    data = b"CBM1" + struct.pack("<I", len(core)) + bytes(core)
    tracemalloc.start()
    try:
        assert read(data).warnings == ("model.cbm: its core holds no trees",)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_vector_that_claims_more_than_the_buffer() -> None:
    core = struct.pack("<I", 12) + struct.pack("<HHH", 6, 8, 4) + b"\0\0" + struct.pack("<iI", 8, 4)
    core += struct.pack("<I", 0xFFFFFFFF)
    table = FlatBuffer(io.BytesIO(core), 0, len(core)).root()
    for ask in (lambda: table.length(0, 4), lambda: table.structs(0, "<q", 10), lambda: table.texts(0, 10, 10)):
        with pytest.raises(DocumentError, match="out of its buffer"):
            ask()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_change_of_bytes_is_a_traceback(models: dict[str, bytes], data: st.DataObject) -> None:
    original = bytearray(models[data.draw(st.sampled_from(["mixed.cbm", "lossguide.json"]))])
    for _ in range(data.draw(st.integers(1, 4))):
        original[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    CatBoostReader().recognises("model", bytes(original[:4096]))
    assert read(bytes(original)).format == "catboost"
