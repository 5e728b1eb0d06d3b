"""Which names an unpickler may resolve, in every spelling."""

from __future__ import annotations

import io
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.scan.models.interface import Tier
from assay.collect.scan.models.rules.ruleset import load
from assay.errors import AssayError, RejectedError, UsageError
from assay.guard.load.names import Allowing, check_name
from assay.guard.load.pickles import load_stream

RULES: Any = load()


@pytest.mark.parametrize(
    "module, name",
    [
        ("os", "system"),
        ("posix", "system"),
        ("__builtin__", "eval"),
        ("builtins", "getattr"),
        ("commands", "getoutput"),
        ("torch", "os.system"),
        ("pathlib", "os.system"),
        ("collections", "namedtuple.__globals__"),
        ("", ""),
        ("numpy", "testing._private.utils.runstring"),
        ("wave", "Wave_read"),
    ],
)
def test_these_are_refused(module: str, name: str) -> None:
    with pytest.raises(RejectedError):
        check_name(RULES, module, name, "x.pkl")


def test_python_2_names_are_read_both_ways(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check_name(RULES, "__builtin__", "set", "x.pkl")
    check_name(RULES, "copy_reg", "_reconstructor", "x.pkl")
    # With protocol 4 the same name is taken as it stands: a module of this name would be imported.
    (tmp_path / "copy_reg.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RejectedError):
        check_name(RULES, "copy_reg", "_reconstructor", "x.pkl")


def test_an_allowed_name_changes_the_digest_and_nothing_else() -> None:
    more = Allowing(RULES, ["shop.features.Scaler"])
    assert more.digest not in (RULES.digest, Allowing(RULES, ["shop.features.Other"]).digest)
    assert more.judge("shop.features", "Scaler", "call")[0] is Tier.SAFE
    assert more.judge("shop.features", "Scalers", "call")[0] is Tier.UNKNOWN
    assert more.judge("shop", "features.Scaler", "new")[0] is Tier.SAFE
    assert more.judge("os", "system", "call") == RULES.judge("os", "system", "call")
    for name in ("os.system", "nt.system", "builtins.exec", "Scaler", "", "a..b", "a.*"):
        with pytest.raises(UsageError):
            Allowing(RULES, [name])


class Marked:
    """A class whose making would be seen."""

    made = 0

    def __init__(self, *_: object) -> None:
        Marked.made += 1


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([b"", b"c__main__\nMarked\n", b"cos\nsystem\n", b"\x80\x04"]))
def test_any_bytes_give_a_value_or_a_sentence(data: bytes, start: bytes) -> None:
    try:
        load_stream(RULES, io.BytesIO(start + data), "fuzzed.pkl")
    except AssayError as error:
        assert error.message
    assert Marked.made == 0


def test_what_a_stream_may_hold() -> None:
    value = {"a": [1, 2.5, None, (b"x", "y")], "s": {1, 2}}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert load_stream(RULES, io.BytesIO(pickle.dumps(value, protocol)), "x.pkl") == value
    with pytest.raises(RejectedError, match="Marked"):
        load_stream(RULES, io.BytesIO(pickle.dumps(Marked())), "x.pkl")
    with pytest.raises(AssayError):
        load_stream(RULES, io.BytesIO(b"\x80\x04P1\n."), "x.pkl")
