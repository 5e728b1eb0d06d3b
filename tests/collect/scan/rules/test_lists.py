"""The text of allow-lists: strict to read, always the same to write."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.scan.models.rules import lists
from assay.errors import DocumentError

HEAD = f"{lists.MAGIC}\nlibrary: x\n"
WORD = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
DOTTED = st.lists(WORD, min_size=1, max_size=3).map(".".join)


def _both(kinds: set[str]) -> lists.Use:
    found = lists.Use(0)
    for kind in kinds:
        found |= lists.KINDS[kind]
    return found


USES = st.sets(st.sampled_from(sorted(lists.KINDS)), min_size=1).map(_both)
ENTRIES = st.dictionaries(DOTTED, st.dictionaries(DOTTED, USES, min_size=1, max_size=5), max_size=4)


@settings(max_examples=60, deadline=None)
@given(entries=ENTRIES)
def test_what_is_written_is_read_back(entries: lists.Entries) -> None:
    listed = lists.AllowList("some-library", "1.2", "by a test", entries)
    text = lists.render(listed)
    assert lists.parse(text, "x") == listed and lists.render(lists.parse(text, "x")) == text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "first line"),
        ("library: x\n", "first line"),
        (f"{lists.MAGIC}\n", "does not say whose"),
        (f"{lists.MAGIC}\nnew a\n  B\n", "does not say whose"),
        (HEAD + "new a\n", "lists no name of the module a"),
        (HEAD + "new a\n  B*\n", "line 4: 'B\\*' is not a name"),
        (HEAD + "new a.*\n  B\n", "line 3: not understood"),
        (HEAD + "any a\n  B\n", "line 3: not understood"),
        (HEAD + "  B\n", "line 3: not understood"),
        (HEAD + "new a b\n  B\n", "line 3: not understood"),
        (HEAD + "library: y\n", "line 3: not understood"),
        (HEAD + "new a\n  B\nversions: 1\n", "line 5: not understood"),
        (HEAD + "unknown: 1\n", "line 3: not understood"),
        (HEAD + "new a\n\tB\n", "line 4: not understood"),
    ],
)
def test_what_is_not_a_list_is_said_with_its_line(text: str, said: str) -> None:
    with pytest.raises(DocumentError, match=said) as caught:
        lists.parse(text.encode(), "own.txt")
    assert "own.txt" in caught.value.message


def test_other_bytes_are_not_a_list() -> None:
    for data in (b"\xff" * 40, HEAD.encode() + "new a\n  Ä\n".encode(), b"\x80\x04."):
        with pytest.raises(DocumentError, match="not an allow-list"):
            lists.parse(data, "x")
    with pytest.raises(DocumentError, match="larger"):
        lists.parse(b"x" * (lists.MAX_BYTES + 1), "x")


@settings(max_examples=200, deadline=None)
@given(tail=st.text(max_size=60))
def test_any_text_is_read_or_refused(tail: str) -> None:
    try:
        lists.parse((HEAD + tail).encode(), "x")
    except DocumentError:
        return


def test_a_name_in_several_blocks_has_all_uses() -> None:
    listed = lists.parse((HEAD + "# why\nnew a\n  B\n\ncall a\n  B f\n").encode(), "x")
    assert listed.entries["a"]["B"] == lists.KINDS["new"] | lists.KINDS["call"]
    assert listed.entries["a"]["f"] == lists.KINDS["call"]
