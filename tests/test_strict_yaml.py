"""YAML from strangers: read as PyYAML's safe loader reads it, and refused where two readers could differ."""

from __future__ import annotations

import contextlib
import math
from datetime import date
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from assay import strict_yaml
from assay.errors import DocumentError
from helpers import one_sentence, places

WHOLE = b"""\
# a comment
name: "quoted \\u00e9"
empty:
flags: [true, no, Off, ~]
numbers: {one: 1, hex: 0x1F, low: -9223372036854775808, float: 1.5, plain: 1e3, under: 1_000}
date: 2026-01-31
time: 2026-01-31T10:00:00Z
text: |
  two
  lines
folded: >-
  one
  line
nested:
- a: {b: [1, {c: d}]}
- !!str 5
"=": sign
"""


def test_a_whole_document() -> None:
    assert strict_yaml.loads(WHOLE, "f.yml") == {
        "name": "quoted é",
        "empty": None,
        "flags": [True, False, False, None],
        "numbers": {"one": 1, "hex": 31, "low": -(1 << 63), "float": 1.5, "plain": "1e3", "under": 1000},
        "date": "2026-01-31",
        "time": "2026-01-31T10:00:00Z",
        "text": "two\nlines\n",
        "folded": "one line",
        "nested": [{"a": {"b": [1, {"c": "d"}]}}, "5"],
        "=": "sign",
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [(b"", None), (b"# nothing\n", None), (b"---\n...\n", None), (b"word", "word"), (b"\xef\xbb\xbfa: 1", {"a": 1})],
)
def test_small_documents(text: bytes, value: object) -> None:
    assert strict_yaml.loads(text, "f.yml") == value


def test_lines() -> None:
    value, lines = strict_yaml.loads_with_lines(WHOLE, "f.yml")
    assert set(lines) == {(), *places(value)}
    assert lines[("name",)] == 2
    assert lines[("numbers", "hex")] == 5
    assert lines[("text",)] == 8
    assert lines["nested", 0, "a", "b", 1, "c"] == 15
    assert lines[("nested", 1)] == 16
    assert lines.at("nested", 1, "what", "is", "not", "there") == 16
    assert lines.at("nothing") == 2
    assert strict_yaml.Lines().at("a") == 0


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (b"a: 1\nb: 2\na: 3", 3, "'a' stands twice"),
        (b"a: 1\nb: &x 1", 2, "anchors"),
        (b"a: 1\nb: *x", 2, "aliases"),
        (b"a: 1\n<<: {b: 1}", 2, "merge"),
        (b"a:\n- <<", 2, "merge"),
        (b"a: 1\n---\nb: 2", 2, "second document"),
        (b"a: 1\n1: b", 2, "the key '1' is not a string"),
        (b"true: b", 1, "not a string"),
        (b"? [a]\n: b", 1, "a list or object is no key"),
        (b"a: !!python/object/apply:os.system [id]", 1, "tag"),
        (b"a: !!binary aGk=", 1, "tag"),
        (b"a: !mine x", 1, "tag"),
        (b"!!set {a}", 1, "tag"),
        (b"a:\n  b: 9223372036854775808", 2, "64 bits"),
        (b"a: -9223372036854775809", 1, "64 bits"),
        (b"a: " + b"9" * 5000, 1, "64 bits"),
        (b"a: 0x" + b"f" * 17, 1, "64 bits"),
        (b"a: .inf", 1, "finite"),
        (b"a: -.INF", 1, "finite"),
        (b"a: .nan", 1, "finite"),
        (b"a: 1.0e+999", 1, "finite"),
        (b"a: 010", 1, "quotes"),
        (b"a: 1:30", 1, "quotes"),
        (b"a: 1:30.5", 1, "quotes"),
        (b'a: "\\0"', 1, "control"),
        (b'a: "\\e[31m"', 1, "control"),
        (b'"\\a": 1', 1, "control"),
        (b"a: \x00", None, ""),
        (b"a: \x1b[31m", None, ""),
        (b"a: 1\nb: \xff", 2, "UTF-8"),
        ("a: 1".encode("utf-16"), 1, "UTF-8"),
        (b"a: [1, 2", None, ""),
        (b"a: 'x\n", None, ""),
        (b"%TAG ! tag:evil,2000:\n--- !x 1", 2, "tag"),
        (b"[" * 200, 1, "nested deeper"),
        (b"\n".join(b" " * i + b"a:" for i in range(200)), 101, "nested deeper"),
        (b"- " * 300, 1, "nested deeper"),
    ],
)
def test_refused_with_its_line(text: bytes, line: int | None, problem: str) -> None:
    with pytest.raises(DocumentError) as caught:
        strict_yaml.loads(text, "f.yml")
    message = one_sentence(caught.value)
    assert problem in message
    assert message.startswith(f"f.yml:{line}: " if line else "f.yml")


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 900_000,
        b"{" * 900_000,
        b"? " * 400_000,
        b"a: " * 300_000,
        b"&a " * 300_000,
        b"!" * 900_000,
        b"- a: b\n" * 140_000,
        b"{a: " * 200_000,
        b'"' + b"\\u0041" * 150_000,
        b"a: &a [x]\n" + b"".join(b"a%d: [*a, *a, *a, *a]\n" % i for i in range(30)),
    ],
)
def test_bombs_are_refused(text: bytes) -> None:
    with pytest.raises(DocumentError):
        strict_yaml.loads(text, "f.yml")


def test_too_large() -> None:
    assert strict_yaml.loads(b"a: 4567890", "f.yml", max_bytes=10) == {"a": 4567890}
    with pytest.raises(DocumentError, match="larger than the 10 bytes"):
        strict_yaml.loads(b"a: 45678901", "f.yml", max_bytes=10)


def _plain(value: Any) -> bool:
    """Whether PyYAML's value is one that the strict reader may give: no aliases, sets, bytes or odd keys."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_plain, value))
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _same(ours: Any, theirs: Any) -> bool:
    """Equal, except for dates, which the strict reader leaves as text."""
    if isinstance(theirs, date):
        return isinstance(ours, str)
    if isinstance(theirs, dict):
        named = {str(key): value for key, value in theirs.items()}
        return isinstance(ours, dict) and list(ours) == list(named) and all(_same(ours[k], named[k]) for k in named)
    if isinstance(theirs, list):
        return isinstance(ours, list) and len(ours) == len(theirs) and all(map(_same, ours, theirs))
    return type(ours) is type(theirs) and ours == theirs


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff\ufffe\uffff"), max_size=12)
    | st.sampled_from(
        ["yes", "1:30", "010", "0x1f", "<<", "=", "~", "null", "2026-01-01", "1e3", ".5", "- a", "{{ x }}"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc-.1 ", max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, st.booleans())
@settings(max_examples=150, deadline=None)
def test_what_a_writer_writes_comes_back(value: Any, flow: bool) -> None:
    text = yaml.safe_dump(value, allow_unicode=True, default_flow_style=flow, sort_keys=False).encode()
    assert strict_yaml.loads(text, "f.yml") == value


PIECES = (
    "a: ~~b: ~~- ~~  ~~\n~~\n  ~~[~~]~~{~~}~~, ~~\"~~'~~#~~&x ~~*x~~!!str ~~!!int ~~1~~0x1~~1.5~~true~~no~~null~~"
    "<<: ~~? ~~: ~~--- ~~...~~2026-01-01~~|~~-~~>~~%~~é~~~"
)


@given(st.lists(st.sampled_from(PIECES.split("~~")), max_size=25).map("".join))
@settings(max_examples=400, deadline=None)
def test_agrees_with_the_safe_loader_where_it_reads(text: str) -> None:
    try:
        ours = strict_yaml.loads(text.encode(), "f.yml")
    except DocumentError as error:
        one_sentence(error)
        return
    assert _plain(ours)
    assert _same(ours, yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    # The scanner in Python refuses a few texts that libyaml reads; what both read means the same.
    with contextlib.suppress(yaml.YAMLError):
        assert _same(ours, yaml.safe_load(text))


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_never_anything_but_its_own_error(data: bytes) -> None:
    try:
        value, lines = strict_yaml.loads_with_lines(data, "f.yml")
    except DocumentError as error:
        one_sentence(error)
    else:
        assert set(lines) - {()} == set(places(value))
        assert _plain(value)


def test_without_the_reader_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyYAML has no libyaml the same documents are read, and the same ones refused."""
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert strict_yaml.loads(WHOLE, "f.yml")["nested"] == [{"a": {"b": [1, {"c": "d"}]}}, "5"]
    for text in (b"[" * 5000, b"a: *x", b"a: 1\na: 2", b"a: \x00", b"a: \x1b", b'a: "\\ud800"', b"--- 1\n--- 2"):
        with pytest.raises(DocumentError) as caught:
            strict_yaml.loads(text, "f.yml")
        one_sentence(caught.value)
