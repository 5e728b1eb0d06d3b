"""JSON Lines and arrays of objects."""

from __future__ import annotations

import gzip
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.bom.data import jsonl
from assay.collect.bom.data.jsonl import JsonArrayReader, JsonLinesReader
from assay.collect.bom.interface import DataFile


def lines(data: bytes, path: str = "data.jsonl") -> DataFile:
    return JsonLinesReader().read(path, io.BytesIO(data), len(data))


def array(data: bytes) -> DataFile:
    return JsonArrayReader().read("data.json", io.BytesIO(data), len(data))


def types(found: DataFile) -> dict[str, str]:
    return {column.name: column.type for column in found.columns}


ROWS = [
    {"text": "a", "n": 1, "x": 1, "tags": ["t"], "ok": True, "none": None, "either": 1},
    {"text": "b", "n": 2, "x": 0.5, "tags": [], "ok": False, "none": None, "either": "one", "late": {}},
]
TYPES = {
    "text": "string",
    "n": "int64",
    "x": "double",
    "tags": "list",
    "ok": "bool",
    "none": "null",
    "either": "int64 or string",
    "late": "object",
}


def test_lines() -> None:
    data = b"\xef\xbb\xbf" + b"\n".join(json.dumps(row).encode() for row in ROWS) + b"\n\n"
    found = lines(data)
    assert (found.format, found.rows, found.warnings) == ("jsonl", 2, ())
    assert types(found) == TYPES
    packed = lines(gzip.compress(data), "data.jsonl.gz")
    assert (packed.rows, packed.metadata) == (2, {"compression": "gzip"})


def test_more_lines_than_the_sample() -> None:
    found = lines(b'{"a": 1}\n' * 2500 + b'{"b": 1}')
    assert (found.rows, types(found), found.warnings) == (2501, {"a": "int64"}, ())


def test_a_sample_that_ends_within_a_line() -> None:
    found = lines(b'{"a": "%s"}\n' % (b"x" * (3 << 20)) * 2)
    assert (found.rows, types(found), found.warnings) == (2, {"a": "string"}, ())


def test_lines_that_are_no_rows() -> None:
    found = lines(b'{"a": 1}\n[1]\n{"a":\n' + b"[" * 100_000 + b"\n")
    assert found.rows == 4
    assert found.warnings == (
        "data.jsonl: 2 rows of its sample are no JSON",
        "data.jsonl: 1 rows of its sample are no objects",
    )


@pytest.mark.parametrize("chunk", [1, 2, 5])
@settings(max_examples=150, deadline=None)
@given(data=st.lists(st.sampled_from([b"\n", b"\r\n", b" ", b"\t", b"{}", b"[1]"]), max_size=20))
def test_lines_are_counted_in_chunks_of_any_size(chunk: int, data: list[bytes]) -> None:
    text = b"".join(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "_CHUNK", chunk)
        expected = sum(1 for line in text.split(b"\n") if line.strip())
        assert jsonl._count(io.BytesIO(text)) == expected


def test_an_array() -> None:
    data = json.dumps(ROWS, indent=1).encode()
    assert JsonArrayReader().recognises("data.json", data)
    found = array(data)
    assert (found.format, found.rows, types(found), found.warnings) == ("json", 2, TYPES, ())


def test_configuration_is_no_data() -> None:
    for text in (b"{}", b'{"a": [{}]}', b"[]", b"[1, 2]", b'["a"]', b"[[{}]]", b""):
        assert not JsonArrayReader().recognises("config.json", text)


def test_broken_and_large_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no JSON" in array(b'[{"a": 1}').warnings[0]
    assert "no JSON" in array(b'[{"a": ' + b"[" * 100_000).warnings[0]
    monkeypatch.setattr(jsonl, "ARRAY_LIMIT", 1 << 20)
    large = array(b"[{}" + b",{}" * 1_000_000 + b"]")
    assert (large.rows, "larger than 1 MiB" in large.warnings[0]) == (None, True)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_are_a_traceback(data: bytes) -> None:
    assert lines(data).path == "data.jsonl"
    assert array(b"[{" + data).path == "data.json"
