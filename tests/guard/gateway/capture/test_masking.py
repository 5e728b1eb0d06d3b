from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import DocumentError
from assay.guard.gateway.capture.masking import MASK, Mask, Unmasked
from assay.guard.gateway.interface import Answers, Table
from assay.guard.gateway.settings.keeping import Masking
from guard.gateway.capture.samples import capturer, events, files, sample

HEX = re.compile(r"[0-9a-f]{32}")


def masked(value: Any, *rules: tuple[str, str], names: tuple[str, ...] = (), model: str = "m") -> Any:
    mask = Mask([Masking(field=field, do=do) for field, do in rules], b"k" * 32)  # type: ignore[arg-type]
    return json.loads(mask.body(model, "json", json.dumps(value).encode(), names))


def test_fields_by_name_at_any_depth() -> None:
    body = {"instances": [{"email": "a@b", "age": 3, "in": {"e-mail": "c@d", "email": ["x", {"y": "z"}]}}]}
    found = masked(body, ("e?mail", "mask"), ("email", "hash"), ("age", "mask"))
    one = found["instances"][0]
    assert HEX.fullmatch(one["email"]) and one["age"] is None and one["in"]["e-mail"] == MASK
    assert all(HEX.fullmatch(value) for value in one["in"]["email"])
    assert masked(body, ("email", "drop"))["instances"] == [{"age": 3, "in": {"e-mail": "c@d"}}]


def test_fields_by_path() -> None:
    body = {"instances": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], "a": 9}
    assert masked(body, ("$.instances[*].a", "drop")) == {"instances": [{"b": "x"}, {"b": "y"}], "a": 9}
    assert masked(body, ("$.instances[1].b", "mask"))["instances"] == [{"a": 1, "b": "x"}, {"a": 2, "b": MASK}]
    assert masked(body, ("$.*", "drop")) == {}
    assert masked([[1, "s"], [2, "t"]], ("$[*][1]", "mask")) == [[1, MASK], [2, MASK]]
    assert masked([[1, 2]], ("$[*][0]", "drop")) == [[None, 2]]


@pytest.mark.parametrize("field", ["$a", "$.", "$.a[", "$[x]", "$.a[-1]", "$..a", "$.a b[*"])
def test_a_path_that_is_none_is_an_error(field: str) -> None:
    with pytest.raises(DocumentError, match="is no path"):
        Mask([Masking(field=field, do="drop")], b"k")


def test_places_have_the_names_of_their_columns() -> None:
    rows = {"instances": [[30, "a@b"], [40, "c@d"]]}
    assert masked(rows, ("email", "mask"), names=("age", "email"))["instances"] == [[30, MASK], [40, MASK]]
    assert masked(rows, ("_c1", "drop"))["instances"] == [[30, None], [40, None]]
    mask = Mask([Masking(field="email", do="hash")], b"k")
    found = mask.body("m", "csv", b'30,"a@b"\n40,a@b\n', ("age", "email")).decode().splitlines()
    assert found[0].split(",")[0] == "30" and HEX.fullmatch(found[0].split(",")[1])
    assert found[0].split(",")[1] == found[1].split(",")[1]


def test_tensors_are_masked_by_their_names_and_columns() -> None:
    named = {"inputs": [{"name": "email", "shape": [2], "datatype": "BYTES", "data": ["a@b", "c@d"]}]}
    assert masked(named, ("email", "mask"))["inputs"][0]["data"] == [MASK, MASK]
    flat = {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [30, 7, 40, 8]}]}
    assert masked(flat, ("zip", "mask"), names=("age", "zip"))["inputs"][0]["data"] == [30, None, 40, None]


def test_what_cannot_be_read_is_not_kept() -> None:
    mask = Mask([Masking(field="email", do="drop", model="cred*")], b"k")
    for kind, body in (("json", b'{"email": "a@b"'), ("json", b"\xff"), ("", b"a@b"), ("csv", b'"a@b')):
        with pytest.raises(Unmasked):
            mask.body("credit", kind, body)
        assert mask.body("other", kind, body) == body
    with pytest.raises(Unmasked):
        mask.body("credit", "json", b"[" * 200 + b"]" * 200)
    assert mask.body("credit", "json", b'{"email":"a@b","email":"c@d","x":1}') == b'{"x":1}'


leaf = st.none() | st.booleans() | st.integers(-9, 9) | st.text(st.characters(codec="utf-8"), max_size=5)
tree = st.recursive(
    leaf,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "email"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(value=tree, secret=tree, do=st.sampled_from(["drop", "hash", "mask"]))
def test_no_secret_stays_wherever_it_is(value: Any, secret: Any, do: str) -> None:
    token = "S3CR3T-T0KEN"

    def planted(one: Any) -> Any:
        if isinstance(one, dict):
            return {name: planted([token, one[name]] if name == "email" else one[name]) for name in one}
        return [planted(child) for child in one] if isinstance(one, list) else one

    body = planted({"instances": [value, {"email": [secret, token]}]})
    assert token in json.dumps(body)
    assert token not in json.dumps(masked(body, ("email", do)))


def test_captures_in_both_formats_hide_the_same(tmp_path: Path) -> None:
    rules = (
        Masking(field="$.instances[*].email", do="hash"),
        Masking(field="zip", do="drop"),
        Masking(field="iban", do="mask"),
        Masking(field="income", do="mask"),
        Masking(field="$.instances[*].age", do="drop", model="another"),
    )
    one, _ = capturer(tmp_path, masking=rules)
    row = {"age": 30, "email": "a@b.example", "zip": 89073, "iban": "DE02-1203", "income": 54321}
    table = Table(
        np.array([[30, np.nan, 89073, np.nan, 54321]]),
        tuple(row),
        {"email": ["a@b.example"], "iban": ["DE02-1203"]},
    )
    one.see(sample(request=json.dumps({"instances": [row]}).encode()), table, Answers(np.array([1])))
    one.see(sample(request=b"a@b.example", request_type=b"text/plain"), None, None)  # cannot be masked
    one.close()
    for path in files(tmp_path):
        for secret in (b"a@b", b"89073", b"DE02", b"54321"):
            assert secret not in path.read_bytes(), path
    frame = pl.read_parquet(files(tmp_path, ".parquet")[0])
    assert frame.columns[6:] == ["age", "email", "iban", "income", "prediction"]
    (event,) = events(tmp_path)
    (shown,) = json.loads(event["captureData"]["endpointInput"]["data"])["instances"]
    assert shown["email"] == frame["email"][0] and HEX.fullmatch(shown["email"])
    assert (shown["iban"], frame["iban"][0], shown["income"], frame["income"][0]) == (MASK, MASK, None, None)
    assert (shown["age"], frame["age"][0]) == (30, 30)
    assert (one.figures.captured, one.figures.unreadable) == (1, 1)


@pytest.mark.parametrize("field", ["$.instances[*][1]", "_c1", "$.instances[*][*]", "$.inputs[*].data[*]", "salary"])
def test_a_path_to_a_place_hides_the_column_of_that_place(field: str, tmp_path: Path) -> None:
    one, _ = capturer(tmp_path, format=("parquet",), masking=(Masking(field=field, do="drop"),))
    one.see(sample(), Table(np.array([[30.0, 54321.0]]), ("age", "salary")), None)
    one.close()
    assert "salary" not in pl.read_parquet(files(tmp_path)[0]).columns


def test_nested_columns_and_vectors_hide_too(tmp_path: Path) -> None:
    rules = (Masking(field="$.instances[*].customer.email", do="drop"), Masking(field="account", do="drop"))
    one, _ = capturer(tmp_path, format=("parquet",), masking=rules)
    one.see(sample(), Table(np.ones((1, 3)), ("customer.email", "account.number", "age")), None)
    inside = b'{"instances": [{"account": [%s]}]}' % b",".join([b"54321"] * 3000)
    one.see(sample(request=inside), Table(np.ones((1, 3000))), None)  # where it is in a row, nobody knows
    one.see(sample(request=b'{"instances": [{"account": [5, 6]}]}'), Table(np.ones((1, 2))), None)
    one.see(sample(request=b'{"instances": ['), Table(np.ones((1, 2))), None)
    one.see(sample(request=b'{"account": 5, "instances": [[1]]}', model="beside"), Table(np.ones((1, 1))), None)
    one.close()
    found = {path.parts[-6]: pl.read_parquet(path).columns[6:] for path in files(tmp_path)}
    assert found == {"credit": ["age"], "beside": ["_c0"]}
    assert one.figures.unreadable == 3


def test_rules_are_by_model_also_where_models_share_a_name(tmp_path: Path) -> None:
    one, _ = capturer(tmp_path, format=("parquet",), masking=(Masking(field="iban", do="drop", model="credit"),))
    table = Table(np.array([[7.0, np.nan]]), ("x", "iban"), {"iban": ["DE02"]})
    one.see(sample(model="public", variant="shared"), table, None)
    one.see(sample(model="credit", variant="shared"), table, None)
    one.close()
    found = {frame["model"][0]: frame.columns[6:] for frame in map(pl.read_parquet, files(tmp_path))}
    assert found == {"public": ["x", "iban"], "credit": ["x"]}


def test_a_tensors_name_hides_its_columns(tmp_path: Path) -> None:
    one, _ = capturer(tmp_path, format=("parquet",), masking=(Masking(field="embedding", do="drop"),))
    one.see(sample(), Table(np.ones((1, 3)), ("age", "embedding_0", "embedding_1")), None)
    one.close()
    assert pl.read_parquet(files(tmp_path)[0]).columns[6:] == ["age"]
