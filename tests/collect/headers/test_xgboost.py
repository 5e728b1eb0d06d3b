"""XGBoost's models, written by XGBoost itself, and hostile ones."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.headers.interface import ModelFile
from assay.collect.headers.ubjson import Walker
from assay.collect.headers.xgboost import XGBoostReader
from assay.errors import DocumentError

LEGACY = Path(__file__).parents[2] / "data/models/xgboost/legacy.model"


def read(data: bytes, path: str = "model") -> ModelFile:
    return XGBoostReader().read(path, io.BytesIO(data), len(data))


def recognised(data: bytes, path: str = "model") -> bool:
    return XGBoostReader().recognises(path, data[:4096])


@pytest.fixture(scope="module")
def models() -> dict[tuple[str, str], bytes]:
    import xgboost

    random = np.random.default_rng(0)
    rows = random.normal(size=(60, 4))
    data = xgboost.DMatrix(rows, (rows[:, 0] > 0).astype(int), feature_names=list("abcd"))
    written = {}
    for booster in ("gbtree", "dart", "gblinear"):
        options = {"objective": "binary:logistic", "booster": booster}
        if booster != "gblinear":
            options["max_depth"] = 2
        model = xgboost.train(options, data, 3)
        for form in ("json", "ubj"):
            written[booster, form] = bytes(model.save_raw(form))
    return written


@pytest.mark.parametrize("form", ["json", "ubj"])
@pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
def test_what_xgboost_writes(models: dict[tuple[str, str], bytes], booster: str, form: str) -> None:
    import xgboost

    data = models[booster, form]
    assert recognised(data)
    found = read(data)
    assert found.format == "xgboost"
    assert found.architecture == booster
    assert found.metadata["objective"] == "binary:logistic"
    assert found.metadata["features"] == "4"
    assert found.metadata["feature_names"] == "a, b, c, d"
    assert found.metadata["version"] == xgboost.__version__
    assert found.metadata.get("trees") == (None if booster == "gblinear" else "3")
    assert found.parameters == (5 if booster == "gblinear" else None)
    assert not found.warnings


def test_many_features_in_ubjson() -> None:
    import xgboost

    data = xgboost.DMatrix(np.ones((4, 500)), np.ones(4), feature_names=[f"feature {i}" for i in range(500)])
    found = read(bytes(xgboost.train({}, data, 1).save_raw("ubj")))
    assert found.metadata["features"] == "500"
    assert found.metadata["feature_names"].startswith("feature 0, feature 1,")
    assert len(found.metadata["feature_names"]) <= 300


def test_deprecated_binary() -> None:
    data = LEGACY.read_bytes()
    for form in (data, data.removeprefix(b"binf")):
        assert recognised(form)
        found = read(form)
        assert found.architecture == "gbtree"
        assert found.metadata == {
            "encoding": "binary",
            "objective": "binary:logistic",
            "features": "4",
            "version": "3.0",
        }
        assert "no longer reads" in found.warnings[0]


def test_a_configuration_is_no_model() -> None:
    assert not recognised(b'{"model_type": "bert", "learner": 3}')
    assert not recognised(b'[{"learner": {"attributes": {}}}]')
    assert not recognised(b"")


def test_trees_that_are_not_there() -> None:
    model = {"gbtree_model_param": {"num_trees": "9"}, "trees": [{}, {}]}
    document = {"learner": {"attributes": {}, "gradient_booster": {"name": "gbtree", "model": model}}}
    found = read(json.dumps(document).encode())
    assert found.metadata["trees"] == "2"
    assert found.warnings == ("model: declares 9 trees and holds 2",)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"learner":{"attributes":' + b"[" * 100_000, "nested too deeply"),
        (b'{"learner":{"feature_names":[1]}}', "feature_names"),
        (b'{"learner":{"attributes":{}}', "truncated"),
    ],
)
def test_broken_json(data: bytes, says: str) -> None:
    assert says in read(data).warnings[0]


def text(value: str) -> bytes:
    return b"U" + bytes([len(value)]) + value.encode()


@pytest.mark.parametrize(
    ("tail", "says"),
    [
        (b"[$d#L" + struct.pack(">q", 1 << 60), "ends early"),
        (b"[#L" + struct.pack(">q", 1 << 60), "ends early"),
        (b"[$d#L" + struct.pack(">q", -1), "negative"),
        (b"SL" + struct.pack(">q", 1 << 40), "ends early"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[$[#U\x02" * 1000, "nested too deeply"),
        (b"[$dx", "type without a count"),
        (b"?", "not known"),
        (b"", "ends early"),
    ],
)
def test_hostile_ubjson(tail: bytes, says: str) -> None:
    data = b"{" + text("learner") + b"{" + text("attributes") + tail
    assert recognised(data)
    assert says in read(data).warnings[0]


def test_a_count_of_values_that_take_no_bytes_costs_nothing() -> None:
    data = b"{" + text("a") + b"[$T#L" + struct.pack(">q", 1 << 62) + text("b") + b"i\x07}"
    assert Walker(io.BytesIO(data), len(data)).read({"a": None, "b": None}) == {"a": 1 << 62, "b": 7}


def test_values_are_limited() -> None:
    data = b"{" + text("a") + b"[" + b"T" * 100 + b"]}"
    with pytest.raises(DocumentError, match="too many values"):
        Walker(io.BytesIO(data), len(data), values=50).read({"a": None})


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_change_of_bytes_is_a_traceback(models: dict[tuple[str, str], bytes], data: st.DataObject) -> None:
    original = bytearray(models["gbtree", data.draw(st.sampled_from(["json", "ubj"]))])
    for _ in range(data.draw(st.integers(1, 4))):
        original[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(original[: data.draw(st.integers(1, len(original)))])
    recognised(cut)
    assert read(cut).format == "xgboost"
