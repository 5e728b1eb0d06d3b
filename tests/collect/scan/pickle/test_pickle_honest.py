"""What real libraries write is read to its end and shows nothing but its names."""

from __future__ import annotations

import collections
import datetime
import io
import pickle
from typing import Any

import joblib
import numpy as np
import pytest

from assay.collect.scan.models.pickle.stubs import HOT
from collect.scan.pickle.assembling import facts, findings, scan, uses

VALUES: dict[str, Any] = {
    "plain": {"a": [1, -2, 3.5, None, True, "x", b"y"], "b": (1, (2, (3,))), "big": 1 << 200},
    "sets": [{1, 2}, frozenset((3, 4)), bytearray(b"abc"), 1j, range(3), slice(1, 2)],
    "ordered": collections.OrderedDict(a=1, b=collections.OrderedDict()),
    "defaults": collections.defaultdict(list, {"a": [1]}),
    "counter": collections.Counter("hello"),
    "dates": [datetime.datetime(2026, 1, 1) + datetime.timedelta(days=day) for day in range(2 * HOT)],
    "arrays": [np.arange(10), np.zeros((3, 4), "f4"), np.array(["a", "bc"]), np.float64(3)],
    "large-array": np.zeros(100_000),
    "structured": np.zeros(3, [("a", "<f4"), ("b", "S3"), ("c", "<i8", (2,))]),
    "objects": np.array([1, {"a": [2]}, "x", np.arange(5)], dtype=object),
    "scalars": list(np.arange(2 * HOT)),
    "shared": [[1, 2, 3]] * 5,
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", VALUES)
def test_pickle(value: str, protocol: int) -> None:
    data = pickle.dumps(VALUES[value], protocol)
    program = facts(data)
    assert (program.complete, program.flags, program.end) == (True, (), len(data)), program.abort
    unlisted = {use[:2] for use in uses(program)} - {("numpy._core.numeric", "_frombuffer")}
    assert [finding for finding in findings(data) if finding.rule != "pickle/unlisted-global"] == []
    assert all(module.split(".")[0] in HOMES for module, _ in unlisted), unlisted


HOMES = {"builtins", "__builtin__", "collections", "datetime", "numpy", "_codecs", "copy_reg", "copyreg"}


@pytest.mark.parametrize("value", VALUES)
def test_joblib(value: str) -> None:
    file = io.BytesIO()
    joblib.dump([VALUES[value], np.ones((2, 3), "c16"), np.array([True, False]), np.array([], "f8"), "end"], file)
    data = file.getvalue()
    program = facts(data)
    assert (program.complete, program.flags, program.end) == (True, (), len(data)), program.abort
    assert ("joblib.numpy_pickle", "NumpyArrayWrapper", "build") in uses(program)
    assert program.arrays


def test_joblib_array_of_objects_is_read_as_the_program_that_it_is() -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (eval, ("1",))

    for value in (Evil(), [np.array([Evil(), 1], dtype=object)]):
        file = io.BytesIO()
        joblib.dump([np.ones(3), np.array([value, 2], dtype=object)], file)
        program = facts(file.getvalue())
        assert program.complete
        assert ("builtins", "eval", "call") in uses(program)


@pytest.mark.parametrize("where", range(12))
def test_a_joblib_array_whose_length_was_changed_is_not_clean(where: int) -> None:
    file = io.BytesIO()
    joblib.dump(np.arange(7, dtype="<i8"), file)
    data = bytearray(file.getvalue())
    found = data.index(b"K\x07")
    data[found + 1] = where + 8
    assert findings(bytes(data)) != []


def test_a_number_that_claims_to_be_an_object_is_not_skipped() -> None:
    """NumPy takes a dtype's flags from the pickle, and joblib unpickles where they say objects."""
    file = io.BytesIO()
    joblib.dump(np.arange(7, dtype="<i8"), file)
    data = file.getvalue()
    # version, byte order, subtype, names, fields, size, alignment and flags of int64
    state = data.index(b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t")
    changed = data[: state + 11] + b"\x01" + data[state + 12 :]
    assert "pickle/incomplete" in {finding.rule for finding in findings(changed)}


def test_protocols_of_python_2() -> None:
    for protocol in (0, 1, 2):
        data = pickle.dumps([{1}, object()], protocol)
        names = {use.module for use in facts(data).uses}
        assert "__builtin__" in names or protocol == 2
        assert findings(data) == []


def test_cloudpickle_is_read_to_its_end() -> None:
    cloudpickle = pytest.importorskip("cloudpickle")

    def made(x: int) -> int:
        return x + 1

    class Made:
        def method(self) -> int:
            return 1

    Made.__module__ = made.__module__ = "__main__"
    program = facts(cloudpickle.dumps([made, Made(), Made]))
    assert program.complete, program.abort


def test_a_file_with_several_programs() -> None:
    file = io.BytesIO()
    for value in VALUES.values():
        pickle.dump(value, file)
    size = file.tell()
    file.seek(0)
    count = 0
    while file.tell() < size:
        found = list(scan().pickle(file, size, exact=False, encoding="latin1"))
        assert {finding.rule for finding in found} <= {"pickle/unlisted-global"}
        count += 1
    assert count == len(VALUES)
