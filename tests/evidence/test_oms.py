"""Model signatures as documents: what we write reads back, and nothing inconsistent is read at all."""

from __future__ import annotations

import copy
import hashlib
import json
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DocumentError
from assay.evidence import oms, statement
from assay.evidence.claims import UNKNOWN_SIZE, Claims, Range
from assay.targets.interface import SEGMENT, Manifest
from helpers import FILES, manifest_of, model_statement, one_sentence, places, write_model

WHAT = "model.sig"


def read(document: Any) -> Claims:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return oms.claims(statement.parse(data, WHAT), WHAT)


def rooted(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the root digest that its resources have."""
    digests = bytes.fromhex("".join(item["digest"] for item in document["predicate"]["resources"]))
    document["subject"][0]["digest"] = {"sha256": hashlib.sha256(digests).hexdigest()}
    return document


def document(*names: str, algorithm: str = "sha256", **serialization: Any) -> dict[str, Any]:
    """A signature as other tools write them: nothing but names and digests."""
    hashed = {"sha256": hashlib.sha256, "blake2b": hashlib.blake2b}.get(algorithm.split("-")[0], hashlib.sha256)
    settings = {"method": "files", "hash_type": algorithm, "allow_symlinks": False, "ignore_paths": []}
    return rooted(
        {
            "_type": statement.V1,
            "subject": [{"name": "model", "digest": {}}],
            "predicateType": oms.PREDICATE_TYPE,
            "predicate": {
                "serialization": settings | serialization,
                "resources": [
                    {"name": name, "algorithm": algorithm, "digest": hashed(name.encode()).hexdigest()}
                    for name in names
                ],
            },
        }
    )


# --- writing and reading back


@pytest.mark.parametrize("large", [0, SEGMENT, SEGMENT + 1, 2 * SEGMENT + 7])
def test_round_trip(tmp_path: Path, large: int) -> None:
    folder = write_model(tmp_path / "model", {**FILES, "large.bin": b"\x07" * large})
    manifest = manifest_of(folder)
    claims = read(model_statement(folder))
    assert claims.manifest == manifest
    assert claims.names == sorted([*FILES, "large.bin"])
    assert bool(claims.manifest.segments) == (large > SEGMENT)
    assert (claims.ranges, claims.followed_links, claims.part, claims.anonymous) == ((), False, (), False)


def test_a_model_that_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"weights")
    manifest = manifest_of(tmp_path / "model.onnx")
    text = model_statement(tmp_path / "model.onnx")
    assert json.loads(text)["predicate"]["resources"][0]["name"] == "."
    claims = read(text)
    assert claims.anonymous and claims.manifest == manifest and claims.names == ["model.onnx"]


def test_what_was_left_out_and_how_it_was_read(tmp_path: Path) -> None:
    manifest = manifest_of(write_model(tmp_path))
    made = oms.payload("m", manifest, ignored=(".git", "cache/"), followed_links=True, annotations={"part": ["a/*"]})
    claims = read(made)
    assert claims.ignored == (".git", "cache/") and claims.followed_links and claims.part == ("a/*",)


names = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


@given(st.sets(paths, min_size=1, max_size=8), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_names_round_trip(found: set[str], hashed_by_blake3: bool) -> None:
    ordered = sorted(found)
    digests = b"".join(hashlib.sha256(name.encode()).digest() for name in ordered)
    manifest = Manifest(ordered, array("Q", map(len, ordered)), digests, digests if hashed_by_blake3 else b"")
    annotations = {"contents": manifest.contents().hex(), "note": ordered[0]}
    made = oms.payload(ordered[-1], manifest, ignored=ordered, followed_links=False, annotations=annotations)
    parsed = statement.parse(made, WHAT)
    claims = oms.claims(parsed, WHAT)
    assert claims.manifest == manifest and list(claims.ignored) == ordered
    assert parsed.subjects[0].name == ordered[-1] and parsed.subjects[0].annotations == annotations
    assert json.loads(made)["subject"][0]["digest"] == {"sha256": hashlib.sha256(digests).hexdigest()}


def test_the_same_manifest_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = (write_model(tmp_path / name / "model") for name in ("one", "two"))
    assert model_statement(one) == model_statement(two)


# --- other tools' documents


def test_documents_without_annotations() -> None:
    claims = read(document("a", "b"))
    assert claims.manifest is not None
    assert list(claims.manifest.sizes) == [UNKNOWN_SIZE] * 2 and claims.manifest.blake3 == b""
    assert claims.manifest.sha256 == b"".join(hashlib.sha256(name).digest() for name in (b"a", b"b"))


def test_the_reference_implementation_sorts_by_path_component() -> None:
    by_component = ["a/b", "a/c/d", "a-b", "a.txt"]
    assert by_component != sorted(by_component)
    claims = read(document(*by_component))
    assert claims.manifest is not None and list(claims.names) == sorted(by_component)
    assert claims.manifest[0].sha256 == hashlib.sha256(claims.names[0].encode()).digest()
    for i, name in enumerate(claims.names):
        assert claims.manifest[i].sha256 == hashlib.sha256(name.encode()).digest()


def test_older_documents_ignore_git_without_saying_so() -> None:
    older = document("a")
    del older["predicate"]["serialization"]["ignore_paths"]
    assert read(older).ignored == (".git", ".gitattributes", ".github", ".gitignore")


def test_whole_files_by_other_digests() -> None:
    for algorithm in ("blake2b", "blake3"):
        claims = read(document("a", "b", algorithm=algorithm))
        assert claims.manifest is None and [item.name for item in claims.ranges] == ["a", "b"]
        assert {(item.start, item.stop, item.algorithm) for item in claims.ranges} == {(0, None, algorithm)}


def test_one_unnamed_file_takes_its_name_from_the_subject() -> None:
    unnamed = document(".")
    unnamed["subject"][0]["name"] = "weights.bin"
    assert read(unnamed).names == ["weights.bin"] and read(unnamed).anonymous
    unnamed["subject"][0]["name"] = ""
    assert read(unnamed).names == ["model"]


def test_version_0_2() -> None:
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("b", "a/c", "a-b")}
    older = {
        "_type": statement.V1,
        "subject": [{"name": name, "digest": {"sha256": value}} for name, value in digests.items()],
        "predicateType": oms.LEGACY_TYPE,
        "predicate": {},
    }
    claims = read(older)
    assert claims.manifest is not None and list(claims.names) == sorted(digests)
    assert claims.manifest.sha256.hex() == "".join(digests[name] for name in claims.names)
    for bad in ({"sha512": "0" * 128}, {"sha1": "0" * 40}):
        refused({**older, "subject": [*older["subject"], {"name": "x", "digest": bad}]})
    for name in ("b", "../x", "", "/x", "."):
        refused({**older, "subject": [*older["subject"], {"name": name, "digest": {"sha256": "0" * 64}}]})


SHARDED = {"method": "shards", "shard_size": 10, "hash_type": "sha256"}


def test_shards() -> None:
    sharded = document("a/b:0:10", "a/b:10:13", "c:d:0:10", algorithm="sha256-sharded-10", **SHARDED)
    claims = read(sharded)
    assert claims.manifest is None
    assert [(item.name, item.start, item.stop) for item in claims.ranges] == [
        ("a/b", 0, 10),
        ("a/b", 10, 13),
        ("c:d", 0, 10),
    ]
    first = claims.ranges[0]
    assert first == Range("a/b", 0, 10, "sha256", hashlib.sha256(b"a/b:0:10").digest())
    sharded["predicate"]["serialization"]["shard_size"] = 10.0  # through protobuf all numbers are floats
    assert read(sharded).ranges == claims.ranges


# --- refused


def refused(document: Any) -> str:
    with pytest.raises(DocumentError) as caught:
        read(document)
    assert WHAT in one_sentence(caught.value)
    return caught.value.message


@pytest.mark.parametrize(
    "shards",
    [
        ["a"],
        ["a:0"],
        [":0:10"],
        ["a:0:11"],
        ["a:5:10"],
        ["a:0:0"],
        ["a:10:20"],
        ["a:0:10", "a:20:30"],
        ["a:0:5", "a:10:15"],
        ["a:0:10", "a:0:10"],
        ["a:10:20", "a:0:10"],
        ["b:0:10", "a:0:10"],
        ["a:0:10", "b:0:10", "a:10:20"],
        ["a:-10:0"],
        ["a:0:١٠"],
        ["a:0: 10"],
        ["a:0:1_0"],
        ["a:0:" + "9" * 5000],
        ["../a:0:10"],
        ["/a:0:10"],
    ],
)
def test_shards_that_do_not_fit_together(shards: list[str]) -> None:
    refused(document(*shards, **SHARDED, algorithm="sha256"))


@pytest.mark.parametrize("size", [0, -1, 1.5, None, "10", True, [], 2**80 + 0.5])
def test_shard_sizes_that_are_none(size: Any) -> None:
    if size != 2**80 + 0.5:
        refused(document("a:0:10", **{**SHARDED, "shard_size": size}))


@pytest.mark.parametrize(
    "found",
    [
        ["../secret"],
        ["a/../../secret"],
        ["/etc/passwd"],
        ["a//b"],
        ["a/"],
        ["./a"],
        ["a/./b"],
        [""],
        ["a", "a"],
        ["b", "a"],
        ["a/b", "a-b", "a/c"],
        ["a", ".."],
        [".", "a"],
        ["a\0b"],
    ],
)
def test_names_that_reach_out_repeat_or_are_unsorted(found: list[str]) -> None:
    refused(document(*found))


def test_an_unnamed_file_with_a_subject_that_reaches_out() -> None:
    for name in ("../../etc/passwd", "/etc/passwd", "..", "a/../b"):
        unnamed = document(".")
        unnamed["subject"][0]["name"] = name
        refused(unnamed)


def test_a_root_that_is_not_the_resources() -> None:
    other = document("a", "b")
    other["predicate"]["resources"][0]["digest"] = "0" * 64
    assert "root" in refused(other)
    missing = document("a", "b")
    missing["subject"][0]["digest"] = {"sha512": "0" * 128}
    assert "root" in refused(missing)


def test_swapped_names_are_found_by_our_contents_digest(tmp_path: Path) -> None:
    """The standard's root digest does not bind names: the same list under other names has the same root."""
    made = json.loads(model_statement(write_model(tmp_path, {"a": b"1", "b": b"2"})))
    made["predicate"]["resources"][1]["name"] = "c"
    assert "contents digest" in refused(made)
    made = json.loads(model_statement(write_model(tmp_path, {"a": b"1", "b": b"2"})))
    made["predicate"]["resources"][1]["annotations"]["size"] += 1
    assert "contents digest" in refused(made)


def change(*place: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def apply(made: dict[str, Any]) -> None:
        holder: Any = made
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = to

    return apply


SERIALIZATION = ("predicate", "serialization")
FIRST = ("predicate", "resources", 0)


@pytest.mark.parametrize(
    "spoil",
    [
        change("predicate", "more", to=1),
        change(*SERIALIZATION, "more", to=1),
        change(*SERIALIZATION, "method", to="tensors"),
        change(*SERIALIZATION, "method", to=None),
        change(*SERIALIZATION, "hash_type", to="md5"),
        change(*SERIALIZATION, "hash_type", to="blake3"),
        change(*SERIALIZATION, "hash_type", to=[]),
        change(*SERIALIZATION, "hash_type", to={}),
        change(*SERIALIZATION, "allow_symlinks", to="false"),
        change(*SERIALIZATION, "allow_symlinks", to=None),
        change(*SERIALIZATION, "ignore_paths", to="all"),
        change(*SERIALIZATION, "ignore_paths", to=[1]),
        change(*SERIALIZATION, "ignore_paths", to=None),
        change("predicate", "serialization", to=[]),
        change("predicate", "resources", to={}),
        change("predicate", "resources", to=[]),
        change(*FIRST, to="a"),
        change(*FIRST, to=None),
        change(*FIRST, "name", to=1),
        change(*FIRST, "digest", to=1),
        change(*FIRST, "digest", to=None),
        change(*FIRST, "algorithm", to="md5"),
        change(*FIRST, "algorithm", to=[]),
        change(*FIRST, "algorithm", to="sha256-sharded-10"),
        change(*FIRST, "annotations", "size", to=-1),
        change(*FIRST, "annotations", "size", to=1.5),
        change(*FIRST, "annotations", "size", to="1"),
        change(*FIRST, "annotations", "size", to=2**64),
        change(*FIRST, "annotations", "blake3", to="00"),
        change(*FIRST, "annotations", "blake3", to="A" * 64),
        change(*FIRST, "annotations", "blake3", to=5),
        change(*FIRST, "annotations", "blake3", to=None),
        change(*FIRST, "annotations", "blake3", to=["0"] * 64),
        change(*FIRST, "annotations", to=[]),
        change(*FIRST, "annotations", to="size"),
        change("subject", 0, "annotations", "part", to="weights/*"),
        change("predicateType", to="https://example.com/other"),
    ],
)
def test_spoiled(tmp_path: Path, spoil: Callable[[dict[str, Any]], None]) -> None:
    made = json.loads(model_statement(write_model(tmp_path)))
    read(made)
    spoil(made)
    refused(made)


@pytest.mark.parametrize("value", [None, "", "00", "0" * 64, "A" * 128, 5, [], "0" * 129])
def test_segments_that_do_not_fit_the_size(tmp_path: Path, value: Any) -> None:
    made = json.loads(model_statement(write_model(tmp_path, {"large.bin": bytes(SEGMENT + 1)})))
    made["predicate"]["resources"][0]["annotations"]["segments"] = value
    refused(made)


def test_more_than_one_subject(tmp_path: Path) -> None:
    made = json.loads(model_statement(write_model(tmp_path)))
    made["subject"] *= 2
    refused(made)


SAMPLES = [
    document("a", "b/c"),
    document("a:0:10", "a:10:12", **SHARDED),
    document("a", algorithm="blake3"),
    document("."),
]
JUNK = st.sampled_from(
    [None, True, -1, 0, 1.5, 10**30, "", "0", "..", "a", "a:0:1", "\0", "0" * 64, [], [[]], {}, {"name": 1}]
)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_document_makes_a_traceback(data: st.DataObject) -> None:
    spoiled = copy.deepcopy(data.draw(st.sampled_from(SAMPLES)))
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, last = data.draw(st.sampled_from(list(places(spoiled))))
        holder: Any = spoiled
        for key in parents:
            holder = holder[key]
        holder[last] = copy.deepcopy(data.draw(JUNK))
    try:
        claims = read(spoiled)
    except DocumentError as error:
        one_sentence(error)
        return
    listed = list(claims.names)
    assert listed and all(name and ".." not in name.split("/") and name[0] != "/" for name in listed)
    if claims.manifest is not None:
        assert listed == sorted(set(listed)) and len(claims.manifest.sha256) == 32 * len(listed)
