"""The fast reader of model signatures against the slow one: what it accepts, the slow one accepts, alike."""

from __future__ import annotations

import json
import random
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DocumentError
from assay.evidence import oms, oms_rows, statement
from assay.targets.interface import SEGMENT, Manifest

NAMES = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=12).filter(
        lambda name: name not in (".", "..")
    ),
    min_size=1,
    max_size=8,
    unique=True,
)


def manifest(names: list[str], seed: int = 0) -> Manifest:
    source = random.Random(seed)
    names = sorted(names)
    sizes = [source.choice([0, 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT]) for _ in names]
    segments = {i: source.randbytes(32 * -(-size // SEGMENT)) for i, size in enumerate(sizes) if size > SEGMENT}
    blake3 = b"".join(bytes(32) if i in segments else source.randbytes(32) for i in range(len(names)))
    return Manifest(names, array("Q", sizes), source.randbytes(32 * len(names)), blake3, segments)


def payload(made: Manifest) -> bytes:
    annotations = {"contents": made.contents().hex(), "time": "2026-01-01T00:00:00Z"}
    return oms.payload("model", made, ignored=[".git"], followed_links=False, annotations=annotations)


@settings(deadline=None)
@given(NAMES, st.integers(0, 1000))
def test_round_trip_by_both_readers(names: list[str], seed: int) -> None:
    made = manifest(names, seed)
    text = payload(made)
    slow = oms.claims(statement.parse(text, "x"), "x")
    assert slow.manifest == made
    fast = oms_rows.read(text, "x")
    if any(char in name for name in names for char in '":\\'):
        assert fast is None or fast[1] == slow
    else:
        assert fast is not None and fast[1] == slow


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_the_fast_reader_accepts_nothing_that_the_slow_one_refuses(data: st.DataObject) -> None:
    text = bytearray(payload(manifest(["a", "b/c", "d"], 1)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        edit = data.draw(
            st.sampled_from(
                [b"", b'"', b":", b"\\u0061", b',"size":1', b',"digest":"00"', b" ", b"{", b"\xff", b"..", b"/"]
            )
        )
        text[at : at + data.draw(st.integers(0, 3))] = edit
    try:
        fast = oms_rows.read(bytes(text), "x")
    except DocumentError:
        return
    if fast is not None:
        assert oms.claims(statement.parse(bytes(text), "x"), "x") == fast[1]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"digest":"', b'"digest":"%s","digest":"' % (b"0" * 64)),
        (b'"size":', b'"size":7,"size":'),
        (b'"method":"files"', b'"method":"shards","method":"files"'),
        (b'"predicateType"', b'"predicateType":"x","predicateType"'),
        (b'"name":"a"', b'"name":"z","name" :"a"'),
        (b'"name":"a"', b'"name":"z","n\\u0061me":"a"'),
    ],
)
def test_repeated_keys_are_refused(old: bytes, new: bytes) -> None:
    text = payload(manifest(["a", "b"], 2))
    assert old in text
    bad = text.replace(old, new, 1)
    json.loads(bad)  # JSON all the same: the last one wins there
    assert oms_rows.read(bad, "x") is None
    with pytest.raises(DocumentError):
        oms.claims(statement.parse(bad, "x"), "x")


def test_large_documents_take_the_fast_way() -> None:
    made = manifest([f"file-{i:05d}" for i in range(500)], 3)
    found = oms_rows.read(payload(made), "x")
    assert found is not None and found[1].manifest == made
