"""LightGBM's text models, written by LightGBM itself, and broken ones."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.headers.interface import ModelFile
from assay.collect.headers.lightgbm import LightGbmReader


def read(data: bytes) -> ModelFile:
    return LightGbmReader().read("model.txt", io.BytesIO(data), len(data))


@pytest.fixture(scope="module")
def model() -> bytes:
    import lightgbm

    random = np.random.default_rng(0)
    rows = random.normal(size=(60, 4))
    labels = random.integers(0, 3, 60)
    data = lightgbm.Dataset(rows, labels, feature_name=list("abcd"))
    options = {"objective": "multiclass", "num_class": 3, "boosting": "dart", "num_leaves": 4, "verbose": -1}
    text: str = lightgbm.train(options, data, 2).model_to_string()
    return text.encode()


def test_what_lightgbm_writes(model: bytes) -> None:
    assert LightGbmReader().recognises("model.txt", model[:4096])
    found = read(model)
    assert found.architecture == "dart"
    assert found.metadata["objective"] == "multiclass num_class:3"
    assert found.metadata["features"] == "4"
    assert found.metadata["feature_names"] == "a, b, c, d"
    assert found.metadata["classes"] == "3"
    assert found.metadata["trees"] == "6"
    assert found.metadata["trees_per_iteration"] == "3"
    assert found.metadata["version"] == "v4"
    assert not found.warnings


def test_other_texts_are_no_models() -> None:
    for text in (b"", b"tree\n", b"tree\nhello=1\n", b"a tree\nversion=v4\n", b"version=v4\n"):
        assert not LightGbmReader().recognises("model.txt", text)


def test_trees_that_end_elsewhere_are_told_of(model: bytes) -> None:
    found = read(model.replace(b"tree_sizes=", b"tree_sizes=1 "))
    assert found.metadata["trees"] == "7"
    assert "do not end where the header says" in found.warnings[0]
    assert read(model.replace(b"tree_sizes=", b"tree_sizes=x ")).warnings[0].endswith("are not numbers")


def test_a_header_without_end() -> None:
    assert read(b"tree\nversion=v4\nfeature_names=" + b"a " * 1000).warnings == ("model.txt: its header does not end",)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_change_of_bytes_is_a_traceback(model: bytes, data: st.DataObject) -> None:
    changed = bytearray(model[: data.draw(st.integers(10, len(model)))])
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, min(len(changed), 400) - 1))] = data.draw(st.integers(0, 255))
    LightGbmReader().recognises("model.txt", bytes(changed[:4096]))
    assert read(bytes(changed)).format == "lightgbm"
