"""Comparing manifests: every change is named, in both kinds of digest, and nothing else is."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.evidence.claims import UNKNOWN_SIZE, Claims
from assay.evidence.compare import compare, restrict, select
from assay.targets.interface import SEGMENT, Manifest

FILES = st.dictionaries(
    st.text("abc/", min_size=1, max_size=4), st.tuples(st.integers(0, 3), st.sampled_from([5, SEGMENT + 5])), max_size=6
)


def build(files: dict[str, tuple[int, int]], kind: str = "both") -> Manifest:
    """``files``: name to (which bytes, size)."""
    names = sorted(files)
    sizes = array("Q", [files[name][1] for name in names])
    digest = {name: bytes([files[name][0]]) * 32 for name in names}
    segments = {i: digest[name] * 2 for i, name in enumerate(names) if files[name][1] > SEGMENT}
    sha256 = b"".join(digest[name] for name in names) if kind != "blake3" else b""
    blake3 = b"".join(bytes(32) if i in segments else digest[name] for i, name in enumerate(names))
    return Manifest(names, sizes, sha256, blake3 if kind != "sha256" else b"", segments if kind != "sha256" else {})


@given(FILES, FILES, st.sampled_from(["sha256", "blake3"]))
def test_names_exactly_what_differs(
    signed: dict[str, tuple[int, int]], there: dict[str, tuple[int, int]], kind: str
) -> None:
    found = compare(build(signed), build(there, kind))
    assert set(found.missing) == set(signed) - set(there)
    assert set(found.extra) == set(there) - set(signed)
    assert set(found.modified) == {name for name in set(signed) & set(there) if signed[name] != there[name]}
    assert bool(found) == (signed != there)


def test_unknown_sizes_are_not_compared() -> None:
    there = build({"a": (1, 5)}, "sha256")
    claimed = Manifest(["a"], array("Q", [UNKNOWN_SIZE]), there.sha256, b"")
    assert not compare(claimed, there)


def test_no_common_digest_is_an_error() -> None:
    files = {"a": (1, 5)}
    with pytest.raises(ValueError, match="no digest in common"):
        compare(build(files, "sha256"), build(files, "blake3"))


@given(FILES, st.sets(st.integers(0, 5)))
def test_selection_keeps_each_resource_as_it_is(files: dict[str, tuple[int, int]], wanted: set[int]) -> None:
    whole = build(files)
    chosen = sorted(i for i in wanted if i < len(whole))
    assert list(select(whole, chosen)) == [whole[i] for i in chosen]


def test_restrict_to_a_folder() -> None:
    whole = build({"a/x": (1, 5), "b": (2, 5)})
    part = restrict(Claims(whole), lambda name: name.startswith("a/"))
    assert part.manifest is not None and list(part.manifest.names) == ["a/x"]


def test_contents_bind_names_and_sizes() -> None:
    one, other = build({"a": (1, 5), "b": (2, 5)}), build({"a": (1, 5), "c": (2, 5)})
    assert one.oms_root() == other.oms_root()  # the standard's digest does not tell them apart
    assert one.contents() != other.contents() and one.shape() != other.shape()
    tricky = build({"a 5 1:b": (1, 5)}), build({"a": (1, 5)})
    assert tricky[0].contents() != tricky[1].contents()
