"""A store in one process: adding, finding, naming, reading, discarding, exporting."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.errors import DocumentError, StoreError, UndecidedError, UsageError
from assay.evidence import documents
from assay.evidence.keys import PrivateKey, public_key
from assay.evidence.signers.key import CertificateSigner
from assay.evidence.statement import Statement, Subject
from assay.evidence.stores import open_directory
from assay.evidence.stores.index import Index, query
from assay.evidence.stores.interface import Store
from assay.evidence.stores.log import digest
from evidence.store_making import NOW, SIGNER, TYPE, bundle, digest_of
from small_ca import root


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_directory(str(tmp_path / "evidence"), create=True) as opened:
        yield opened


def numbers(found: list[Any]) -> list[int]:
    return [entry.seq for entry in found]


def test_what_was_added_comes_back(store: Store, tmp_path: Path) -> None:
    data = bundle(1)
    entry = store.add(data, now=NOW, labels={"stage": "dev"}, target="dir:model")
    assert (entry.seq, entry.kind, entry.blob, entry.time) == (1, "statement", digest(data), NOW)
    assert (entry.labels, entry.target, entry.predicate_type) == ({"stage": "dev"}, "dir:model", TYPE)
    assert entry.signers == (SIGNER.key.public.key_id,)
    assert store.read(entry) == data
    assert store.find() == [entry] == [store.get("1")]
    assert (store.head().seq, store.head().digest) == (1, entry.digest)
    assert (tmp_path / "evidence" / "blobs" / entry.blob[:2] / f"{entry.blob}.json").read_bytes() == data
    with open_directory(str(tmp_path / "evidence"), create=False) as again:
        assert again.find() == [entry]
        assert again.notes == ()


def test_the_same_bytes_are_one_entry(store: Store) -> None:
    first = store.add(bundle(1), now=NOW, labels={"a": "b"})
    assert store.add(bundle(1), now=NOW + timedelta(days=1), labels={"c": "d"}) == first
    assert len(store.find()) == 1


def test_without_a_store_there_is_no_answer(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(UndecidedError, match="no evidence store"):
            open_directory(str(path), create=False)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="could not be made"):
        open_directory(str(tmp_path / "file"), create=True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"\xff",
        bundle(1) + bundle(2),
        b'{"payload":"e30=","payloadType":"application/octet-stream","signatures":[{"sig":"AA=="}]}',
        b'{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AA=="}]}',
    ],
)
def test_only_one_bundle_with_a_statement_is_kept(store: Store, data: bytes) -> None:
    with pytest.raises(DocumentError):
        store.add(data, now=NOW)
    assert store.find() == []
    assert store.check().entries == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"now": NOW.replace(tzinfo=None)},
        {"now": NOW, "labels": {"": "x"}},
        {"now": NOW, "labels": {"a\n": "x"}},
        {"now": NOW, "labels": {"a": "\x1b[2J"}},
        {"now": NOW, "labels": {"a": "\ud800"}},
        {"now": NOW, "labels": {"a": "x" * 1001}},
        {"now": NOW, "labels": {str(i): "x" for i in range(65)}},
        {"now": NOW, "target": "dir:\udcff"},
        {"now": NOW, "target": ""},
    ],
)
def test_what_an_entry_cannot_hold(store: Store, arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        store.add(bundle(1), **arguments)
    assert store.head().seq == 0


def test_times_are_kept_in_utc_and_ranges_include_their_ends(store: Store) -> None:
    zone = timezone(timedelta(hours=-7))
    for hour in range(4):
        store.add(bundle(hour), now=(NOW + timedelta(hours=hour)).astimezone(zone))
    assert store.get("2").time == NOW + timedelta(hours=1)
    assert store.get("2").time.tzinfo is UTC
    hours = [NOW + timedelta(hours=hour) for hour in range(4)]
    assert numbers(store.find(since=hours[1], until=hours[2].astimezone(zone))) == [3, 2]
    assert numbers(store.find(since=hours[3] + timedelta(microseconds=1))) == []
    assert numbers(store.find(until=hours[0])) == [1]
    with pytest.raises(UsageError, match="time zone"):
        store.find(since=datetime(2026, 1, 1))


def test_every_way_of_finding(store: Store) -> None:
    shape, contents, tree = "5" * 64, "6" * 64, "7" * 40
    annotations = {"shape": shape, "contents": contents, "gitTree": tree, "gitCommit": 7, "other": "8" * 64}
    store.add(bundle(1, annotations=annotations), now=NOW, labels={"stage": "dev", "team": "a"})
    store.add(bundle(2, name="other", predicate_type="https://example.org/b"), now=NOW, labels={"stage": "prod"})
    second = Subject("part", {"sha256": digest_of(9), "md5": "0" * 32})
    store.add(bundle(3, subjects=[second]), now=NOW)
    assert numbers(store.find(digest=digest_of(1))) == [1]
    assert numbers(store.find(digest=contents)) == numbers(store.find(digest=tree)) == [1]
    assert numbers(store.find(digest=shape)) == numbers(store.find(digest="8" * 64)) == []
    assert numbers(store.find(shape=shape)) == [1]
    assert numbers(store.find(shape=contents)) == []
    assert numbers(store.find(digest=digest_of(9))) == numbers(store.find(digest="0" * 32)) == [3]
    assert numbers(store.find(name="part")) == [3]
    assert numbers(store.find(name="other")) == [2]
    assert numbers(store.find(predicate_type=TYPE)) == [3, 1]
    assert numbers(store.find(signer=SIGNER.key.public.key_id)) == [3, 2, 1]
    assert numbers(store.find(signer="f" * 64)) == []
    assert numbers(store.find(labels={"stage": "dev"})) == [1]
    assert numbers(store.find(labels={"stage": "dev", "team": "b"})) == []
    assert numbers(store.find(labels={"stage": "dev", "team": "a"}, digest=digest_of(1), predicate_type=TYPE)) == [1]
    assert numbers(store.find(limit=2)) == [3, 2]


def test_certificates_are_found_by_the_identity_that_they_claim(store: Store) -> None:
    leaf = root().leaf("alice")
    key = PrivateKey(public_key(leaf.key.public_key(), "the key"), leaf.key)
    statement = Statement((Subject("m", {"sha256": digest_of(1)}),), TYPE, {})
    store.add(CertificateSigner(key, (leaf.der,)).sign(statement.dump()).raw, now=NOW)
    assert numbers(store.find(signer="alice@example.com")) == [1]


def test_an_index_answers_every_question_without_looking_at_all_entries(store: Store, tmp_path: Path) -> None:
    for i in range(30):
        store.add(bundle(i), now=NOW, labels={"k": str(i)})
    index = Index.open(str(tmp_path / "evidence" / "index.sqlite"))
    base: dict[str, Any] = dict.fromkeys(
        ("digest", "name", "shape", "predicate_type", "signer", "since", "until", "labels")
    )
    asked = {"digest": "a", "name": "b", "shape": "c", "predicate_type": "d", "signer": "e", "since": NOW, "until": NOW}
    for question in [*({name: value} for name, value in asked.items()), {"labels": {"k": "1"}}, asked]:
        where, values = query(**{**base, **question}, discarded=False)
        steps = index.plan(where, values)
        assert steps
        assert not [step for step in steps if step.startswith("SCAN")], (question, steps)
    index.close()


def test_an_entry_is_named_by_its_number_or_the_start_of_a_digest(store: Store) -> None:
    entries = [store.add(bundle(i), now=NOW) for i in range(40)]
    assert store.get(entries[6].blob) == store.get(entries[6].blob[:12]) == store.get("7") == entries[6]
    with pytest.raises(UndecidedError, match="no entry 41"):
        store.get("41")
    with pytest.raises(UndecidedError, match="starts with"):
        store.get("ffffffffffff")
    for name in ("abc", "xyz", "", "-1", "0x12", "٣", "ABCDEF", "a" * 65):
        with pytest.raises(UsageError, match="names no entry"):
            store.get(name)


def test_a_prefix_of_two_bundles_is_refused(store: Store) -> None:
    seen: dict[str, int] = {}
    for i in range(3000):
        data = bundle(i)
        start = digest(data)[:4]
        if start in seen and not start.isdigit():
            break
        seen[start] = i
    store.add(bundle(seen[start]), now=NOW)
    store.add(data, now=NOW)
    with pytest.raises(UsageError, match="several"):
        store.get(start)


def test_discarding_adds_a_tombstone(store: Store) -> None:
    kept, bad = store.add(bundle(1), now=NOW), store.add(bundle(2), now=NOW)
    tombstone = store.discard(bad, reason="trained on the test set", now=NOW)
    assert (tombstone.kind, tombstone.discards, tombstone.reason) == ("tombstone", 2, "trained on the test set")
    assert store.find() == [kept]
    assert [entry.discarded for entry in store.find(discarded=True)] == [True, False]
    assert store.get("2").discarded_by == 3
    assert store.get(bad.blob) == store.get("2")
    assert store.read(store.get("2")) == bundle(2)
    assert store.get("3") == tombstone
    with pytest.raises(UsageError, match="already discarded, by entry 3"):
        store.discard(bad, reason="again", now=NOW)
    with pytest.raises(UsageError, match="no statement"):
        store.discard(tombstone, reason="again", now=NOW)
    for reason in ("", "a\nb", "x" * 1001):
        with pytest.raises(UsageError, match="reason"):
            store.discard(kept, reason=reason, now=NOW)
    assert store.check().problems == ()


def test_what_was_discarded_can_be_added_again_as_a_new_entry(store: Store) -> None:
    first = store.add(bundle(1), now=NOW)
    store.discard(first, reason="mistake", now=NOW)
    again = store.add(bundle(1), now=NOW)
    assert (again.seq, again.discarded) == (3, False)
    assert store.find() == [again] == [store.get(again.blob)]
    assert numbers(store.find(discarded=True)) == [3, 1]
    assert store.check().problems == ()


def test_an_export_comes_back_as_the_same_bundles(store: Store, tmp_path: Path) -> None:
    import json

    pretty = json.dumps(json.loads(bundle(2)), indent=2).replace("\n", "\r\n").encode()
    entries = [store.add(data, now=NOW) for data in (bundle(1), pretty, bundle(3).rstrip())]
    tombstone = store.discard(entries[0], reason="for the test", now=NOW)
    exported = store.export([*entries, tombstone])
    assert exported.count(b"\n") == 3
    found = documents.read_documents(exported, "the export")
    assert [item.envelope for item in found] == [
        documents.read_documents(data, "a bundle")[0].envelope for data in (bundle(1), bundle(2), bundle(3))
    ]
    with open_directory(str(tmp_path / "other"), create=True) as other:
        copies = [other.add(item.raw, now=NOW) for item in found]
        assert copies[0].blob == entries[0].blob
        assert other.export(copies) == exported


def test_a_statement_of_very_many_subjects(store: Store) -> None:
    subjects = [Subject(f"file-{i}", {"sha256": digest_of(i)}) for i in range(100_000, 112_000)]
    store.add(bundle(1, subjects=subjects), now=NOW)
    assert numbers(store.find(name="file-111999", digest=digest_of(100_000))) == [1]
    assert store.check().problems == ()


def test_folders_follow_the_umask_and_files_are_read_only(store: Store, tmp_path: Path) -> None:
    entry = store.add(bundle(1), now=NOW)
    root = tmp_path / "evidence"
    for path in (root / "blobs" / entry.blob[:2] / f"{entry.blob}.json", root / "log" / "000000" / "000000001.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o444


LABELS = st.dictionaries(st.sampled_from(["a", "b", "ü", "k'--", '%"_']), st.sampled_from(["", "1", "2", "' OR 1"]))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["n", "m'", "%"]), LABELS), max_size=6),
    st.sets(st.integers(1, 6), max_size=2),
    LABELS,
    st.none() | st.integers(0, 5),
    st.none() | st.sampled_from(["n", "m'", "%", "_"]),
    st.none() | st.integers(0, 6),
    st.booleans(),
)
def test_find_agrees_with_looking_at_every_entry(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, str, Mapping[str, str]]],
    discarded: set[int],
    labels: Mapping[str, str],
    about: int | None,
    name: str | None,
    since: int | None,
    include: bool,
) -> None:
    with open_directory(str(tmp_path_factory.mktemp("store")), create=True) as store:
        for i, (number, subject, given_labels) in enumerate(rows):
            data = bundle(number, name=subject, predicate={"unique": i})
            store.add(data, now=NOW + timedelta(hours=i), labels=given_labels)
        for seq in sorted(discarded):
            if seq <= len(rows):
                store.discard(store.get(str(seq)), reason="r", now=NOW)
        expected = [
            i + 1
            for i, (number, subject, given_labels) in enumerate(rows)
            if (include or i + 1 not in discarded)
            and (about is None or number == about)
            and (name is None or subject == name)
            and (since is None or i >= since)
            and labels.items() <= given_labels.items()
        ]
        found = store.find(
            digest=None if about is None else digest_of(about),
            name=name,
            since=None if since is None else NOW + timedelta(hours=since),
            labels=labels,
            discarded=include,
        )
        assert numbers(found) == expected[::-1]
        assert [entry.labels for entry in found] == [rows[seq - 1][2] for seq in numbers(found)]
        assert store.check().problems == ()
