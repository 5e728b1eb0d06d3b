"""Which ways of writing a path are the one that is recorded."""

from __future__ import annotations

import pytest

from assay.collect.trace.paths import normal, plain


@pytest.mark.parametrize("path", [b"/a/b", b"/a/.venv/b", b"/.cache", b"/a/..b", b"/a/...", b"/a/b.", b"/process"])
def test_names_that_begin_with_dots_are_names(path: bytes) -> None:
    assert plain(path)
    assert normal(path, {}) == path


@pytest.mark.parametrize(
    "path",
    [b"/a/./b", b"/a/../b", b"/a/.", b"/a/..", b"//a", b"/a//b", b"/a/", b"/.", b"/..", b"/", b"/proc/self/fd/3",
     b"/proc/1/root/x", b"/dev/fd/3", b"/dev/stdin"],
)  # fmt: skip
def test_other_ways_are_looked_at(path: bytes) -> None:
    assert not plain(path)
