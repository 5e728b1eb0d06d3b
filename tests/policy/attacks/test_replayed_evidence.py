"""Old evidence, evidence that was taken back, stores that were tampered with, and clocks."""

from __future__ import annotations

import json
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from assay.evidence.stores import open_directory
from assay.evidence.stores.log import Record, blob_path, digest, encode, entry_path
from assay.policy.verdict import Verdict
from policy.attacks.scene import NOW, PROVENANCE, Scene, evaluation, provenance, reasons

ACCURATE = '- {id: r, require: {evidence: evaluation, where: ["accuracy >= 0.9"]}}'
NEWEST = '- {id: r, require: {evidence: evaluation, newest: true, where: ["accuracy >= 0.9"]}}'
FRESH = "- {id: r, require: {evidence: evaluation, max-age: 7d}}"
DAY = timedelta(days=1)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene.at(tmp_path)


def paths(scene: Scene, seq: int, blob: str) -> tuple[Path, Path]:
    """The files of an entry and of its bundle."""
    root = Path(scene.store)
    return root.joinpath(*entry_path(seq)), root.joinpath(*blob_path(blob))


# newest


def test_the_newest_word_counts(scene: Scene) -> None:
    scene.attest("alice", predicate=evaluation(0.95), age=2 * DAY)
    assert scene.verdict(NEWEST) is Verdict.PASS
    scene.attest("alice", predicate=evaluation(0.1), age=DAY)
    assert scene.verdict(NEWEST) is Verdict.FAIL
    assert scene.verdict(ACCURATE) is Verdict.PASS


def test_an_old_word_said_again_is_not_the_newest(scene: Scene) -> None:
    """Reference, 1.12, 6: whoever may write into the store puts a signed statement of last week on top."""
    good = scene.document("alice", predicate=evaluation(0.95), age=7 * DAY)
    scene.attest("alice", predicate=evaluation(0.1), age=DAY)
    scene.add(good)
    decision = scene.decide(NEWEST)
    assert decision.verdict is Verdict.FAIL, reasons(decision)


def test_an_old_word_taken_back_and_said_again_is_not_the_newest(scene: Scene) -> None:
    good = scene.document("alice", predicate=evaluation(0.95), age=7 * DAY)
    entry = scene.add(good)
    scene.attest("alice", predicate=evaluation(0.1), age=DAY)
    scene.discard(entry)
    assert scene.add(good).seq > entry.seq
    assert scene.verdict(NEWEST) is Verdict.FAIL


def test_the_newest_word_taken_back_brings_no_older_one_back(scene: Scene) -> None:
    scene.attest("alice", predicate=evaluation(0.95), age=2 * DAY)
    scene.discard(scene.attest("alice", predicate=evaluation(0.1), age=DAY))
    assert scene.verdict(NEWEST) is Verdict.MISSING


def test_a_stranger_has_no_newest_word(scene: Scene) -> None:
    """Neither to accept nor to veto."""
    scene.attest("alice", predicate=evaluation(0.1), age=2 * DAY)
    scene.attest("mallory", predicate=evaluation(0.95), age=DAY)
    assert scene.verdict(NEWEST) is Verdict.FAIL
    scene.attest("alice", predicate=evaluation(0.95), age=DAY)
    scene.attest("mallory", predicate=evaluation(0.1), age=timedelta())
    assert scene.verdict(NEWEST) is Verdict.PASS


def test_the_newest_of_several_needs_times_that_can_be(scene: Scene) -> None:
    """One without a time, or from the future, could be older or newer than any other."""
    scene.attest("alice", predicate=evaluation(0.95), age=DAY)
    undated = scene.attest("alice", predicate=evaluation(0.1), age=None)
    decision = scene.decide(NEWEST)
    assert decision.verdict is Verdict.ERROR and "no time" in decision.results[0].reason
    scene.discard(undated)
    decision = scene.decide(NEWEST)  # taken back or not, it may be the newest
    assert decision.verdict is Verdict.ERROR


def test_a_word_from_the_future_is_not_for_ever_the_newest(scene: Scene) -> None:
    scene.attest("alice", predicate=evaluation(0.95), age=-300 * DAY)
    scene.attest("alice", predicate=evaluation(0.1), age=DAY)
    decision = scene.decide(NEWEST)
    assert decision.verdict is Verdict.ERROR and "in the future" in decision.results[0].reason


def test_the_newest_in_a_file_cannot_be_known(scene: Scene) -> None:
    path = scene.root / "evidence.json"
    path.write_bytes(scene.document("alice"))
    assert scene.verdict(NEWEST, signature=str(path)) is Verdict.ERROR


def test_a_document_beside_the_target_is_newest_by_its_time_only(scene: Scene) -> None:
    scene.attest("alice", predicate=evaluation(0.1), age=DAY)
    (scene.root / "model.sig").write_bytes(scene.document("alice", predicate=evaluation(0.95), age=2 * DAY))
    assert scene.verdict(NEWEST) is Verdict.FAIL


# taken back


def recoded(document: bytes) -> bytes:
    """The same signatures over the same bytes, in other JSON."""
    return json.dumps(json.loads(document), indent=1).encode()


def test_what_was_taken_back_is_gone(scene: Scene) -> None:
    scene.discard(scene.attest("alice"))
    assert scene.verdict(ACCURATE) is Verdict.MISSING


@pytest.mark.parametrize("place", ["model.sig", "model/model.sig"])
def test_what_was_taken_back_does_not_return_in_another_encoding(scene: Scene, place: str) -> None:
    document = scene.document("alice")
    scene.discard(scene.add(document))
    (scene.root / place).write_bytes(recoded(document))
    decision = scene.decide(ACCURATE)
    assert not decision.accepted, reasons(decision)


def test_adding_it_again_undoes_taking_it_back(scene: Scene) -> None:
    """Whoever keeps the store may do so, and can then do no more than before: the signer's words are what they were.

    Against somebody else who can write there, a newer statement holds and a rule that asks for the newest.
    """
    document = scene.document("alice", predicate=evaluation(0.95), age=2 * DAY)
    scene.discard(scene.add(document))
    scene.add(document)
    assert scene.verdict(ACCURATE) is Verdict.PASS
    scene.attest("alice", predicate=evaluation(0.1), age=DAY)
    scene.add(recoded(document))
    assert scene.verdict(NEWEST) is Verdict.FAIL


def test_the_same_bytes_beside_the_target_are_taken_back_too(scene: Scene) -> None:
    document = scene.document("alice")
    scene.discard(scene.add(document))
    (scene.root / "model.sig").write_bytes(document)
    assert scene.verdict(ACCURATE) is Verdict.MISSING


def test_two_entries_with_the_same_bytes(scene: Scene) -> None:
    """`Store.add` makes one of them; a log written by hand has both. Each counts as what it is, a copy."""
    entry = scene.attest("alice", predicate=evaluation(0.95), age=2 * DAY)
    last = scene.attest("alice", predicate=evaluation(0.1), age=DAY)
    copy = Record(last.seq + 1, last.digest, "statement", entry.blob, NOW)
    file, _ = paths(scene, copy.seq, copy.blob)
    file.write_bytes(encode(copy))
    assert scene.verdict(ACCURATE) is Verdict.PASS
    assert scene.verdict(NEWEST) is Verdict.FAIL


# tampering with the store


def test_removing_the_newest_document_decides_nothing(scene: Scene) -> None:
    scene.attest("alice", predicate=evaluation(0.95), age=2 * DAY)
    bad = scene.attest("alice", predicate=evaluation(0.1), age=DAY)
    scene.attest("alice", kind=PROVENANCE, predicate=provenance("b"))
    entry, blob = paths(scene, bad.seq, bad.blob)
    blob.unlink()
    assert scene.verdict(NEWEST) is Verdict.ERROR
    entry.unlink()
    assert scene.verdict(NEWEST) is Verdict.ERROR


def test_cutting_the_log_decides_nothing_and_is_told(scene: Scene) -> None:
    scene.attest("alice", predicate=evaluation(0.95), age=2 * DAY)
    bad = scene.attest("alice", predicate=evaluation(0.1), age=DAY)
    for file in paths(scene, bad.seq, bad.blob):
        file.unlink()
    decision = scene.decide(NEWEST)
    assert decision.verdict is Verdict.ERROR and "cut" in decision.results[0].reason
    decision = scene.decide(ACCURATE)
    assert decision.accepted and any("cut" in warning for warning in decision.warnings), decision.warnings


def test_an_older_copy_of_the_whole_store_decides_nothing(scene: Scene) -> None:
    """Index and all; only what this user saw last tells."""
    scene.attest("alice", predicate=evaluation(0.95), age=2 * DAY)
    shutil.copytree(scene.store, scene.root / "copy")
    scene.attest("alice", predicate=evaluation(0.1), age=DAY)
    assert scene.verdict(NEWEST) is Verdict.FAIL
    shutil.rmtree(scene.store)
    os.rename(scene.root / "copy", scene.store)
    decision = scene.decide(NEWEST)
    assert decision.verdict is Verdict.ERROR and "shorter" in decision.results[0].reason


def test_a_document_replaced_under_its_name(scene: Scene) -> None:
    entry = scene.attest("alice", predicate=evaluation(0.1))
    _, blob = paths(scene, entry.seq, entry.blob)
    blob.chmod(0o600)
    blob.write_bytes(scene.document("alice"))
    decision = scene.decide(ACCURATE)
    assert decision.verdict is Verdict.MISSING and decision.warnings


def test_an_entry_that_points_elsewhere(scene: Scene) -> None:
    """An entry file edited to name other bytes: the index and the log disagree, and neither is believed."""
    good = scene.attest("alice", digest="a" * 64)
    bad = scene.attest("alice", predicate=evaluation(0.1))
    scene.attest("alice", kind=PROVENANCE, predicate=provenance("b"))
    entry, _ = paths(scene, bad.seq, bad.blob)
    entry.chmod(0o600)
    entry.write_bytes(encode(Record(bad.seq, good.digest, "statement", good.blob, NOW)))
    decision = scene.decide(ACCURATE)
    assert not decision.accepted and decision.warnings


def test_a_broken_document_by_somebody_expected_may_be_the_newest(scene: Scene) -> None:
    """Signed by alice and not a statement that can be read in one way only: what it says is not known."""
    scene.attest("alice", predicate=evaluation(0.95), age=DAY)
    path = scene.root / "model.sig"
    path.write_bytes(scene.document("alice", digest={"sha256": scene.contents.upper()}))
    assert scene.verdict(NEWEST) is Verdict.ERROR
    path.write_bytes(scene.document("mallory", digest={"sha256": scene.contents.upper()}))
    assert scene.verdict(NEWEST) is Verdict.PASS


def test_the_newest_about_an_input_that_was_removed(scene: Scene) -> None:
    """Evidence that an edge leads to is looked up late, and what is missing there counts all the same."""
    data = "d" * 64
    scene.attest("alice", kind=PROVENANCE, predicate=provenance("b", data))
    scene.attest("alice", digest=data, predicate=evaluation(0.95), age=2 * DAY)
    bad = scene.attest("alice", digest=data, predicate=evaluation(0.1), age=DAY)
    rule = """\
- id: r
  require:
    evidence:
      training: slsaprovenance
      data: {type: evaluation, linked: true, newest: true, where: ["accuracy >= 0.9"]}
    edges: [data -> training]
"""
    assert scene.verdict(rule) is Verdict.FAIL
    paths(scene, bad.seq, bad.blob)[1].unlink()
    decision = scene.decide(rule)
    assert decision.verdict is Verdict.ERROR, reasons(decision)


def test_what_is_said_of_one_input_is_not_said_of_another(scene: Scene) -> None:
    """One statement about two data sets; the one that was used is not the one that was approved."""
    used, approved = "d" * 64, "e" * 64
    scene.attest("alice", kind=PROVENANCE, predicate=provenance("b", used))
    first = {"name": "approved", "digest": {"sha256": approved}, "annotations": {"labels": {"approved": "yes"}}}
    scene.attest("alice", digest=used, before=[first])
    rule = """\
- id: r
  require:
    evidence:
      training: slsaprovenance
      data: {type: evaluation, linked: true%s}
    edges: [data -> training]
"""
    assert scene.verdict(rule % "") is Verdict.PASS
    assert not scene.decide(rule % ", labels: {approved: 'yes'}").accepted


def test_an_edge_needs_the_very_digest(scene: Scene) -> None:
    """The data set is named, and found in the store under annotations that claim its digest."""
    data = "d" * 64
    scene.attest("alice", kind=PROVENANCE, predicate=provenance("b", data))
    scene.attest("alice", digest="f" * 64, said={"contents": data})
    scene.attest("alice", digest={"sha256": "f" * 64, "sha3_256": data})
    rule = """\
- id: r
  require:
    evidence: {training: slsaprovenance, data: {type: evaluation, linked: true}}
    edges: [data -> training]
"""
    assert scene.verdict(rule) is Verdict.MISSING


# 7: clocks


@pytest.mark.parametrize(
    ("time", "verdict"),
    [
        ("2026-06-01T11:00:00Z", Verdict.PASS),
        ("2026-06-01T13:30:00+02:00", Verdict.PASS),
        ("2026-05-25T12:00:00Z", Verdict.PASS),
        ("2026-05-25T11:59:59Z", Verdict.STALE),
        ("2026-06-01T12:04:59Z", Verdict.PASS),
        ("2026-06-01T12:06:00Z", Verdict.STALE),
        ("9999-12-31T23:59:59Z", Verdict.STALE),
        ("9999-12-31T23:59:59-23:59", Verdict.STALE),
        ("0001-01-01T00:00:00+23:59", Verdict.STALE),
        ("0001-01-01T00:00:00Z", Verdict.STALE),
        ("2026-06-01T11:00:00", Verdict.STALE),
        ("yesterday", Verdict.STALE),
        ("", Verdict.STALE),
        (1780000000, Verdict.STALE),
        ([], Verdict.STALE),
        ({"$gt": ""}, Verdict.STALE),
        (True, Verdict.STALE),
        (None, Verdict.STALE),
    ],
)
def test_ages(scene: Scene, time: object, verdict: Verdict) -> None:
    scene.attest("alice", said={"time": time}, age=None)
    decision = scene.decide(FRESH)
    assert decision.verdict is verdict, reasons(decision)


def test_the_older_of_two_stated_times_counts(scene: Scene) -> None:
    """Signed yesterday around a report of last year: the report is as old as it is."""
    scene.attest("alice", predicate=evaluation() | {"evaluatedOn": "2025-06-01T00:00:00Z"}, age=DAY)
    assert scene.verdict(FRESH) is Verdict.STALE


def test_no_stated_time_is_a_proved_one(scene: Scene) -> None:
    scene.attest("alice")
    assert scene.verdict("- {id: r, require: {evidence: evaluation, max-age: 7d, proved-time: true}}") is Verdict.STALE


def test_a_stranger_makes_nothing_fresh(scene: Scene) -> None:
    """The same words with a new date, by somebody else."""
    scene.attest("alice", age=30 * DAY)
    scene.attest("mallory", age=timedelta())
    assert scene.verdict(FRESH) is Verdict.STALE


def test_an_expired_policy_accepts_nothing(scene: Scene) -> None:
    scene.attest("alice")
    path = Path(scene.policy(ACCURATE))
    path.write_text(path.read_text().replace("id: p\n", "id: p\nexpires: 2026-06-01T12:00:00Z\n", 1))
    assert scene.decide(str(path), now=NOW - timedelta(seconds=1)).accepted
    decision = scene.decide(str(path), now=NOW)
    assert decision.verdict is Verdict.ERROR and decision.exit_code == 3


def test_the_entry_of_a_store_has_no_say_about_time(scene: Scene) -> None:
    """When somebody put it there is that person's word; the signer's is what counts."""
    scene.add(scene.document("alice", age=30 * DAY), at=NOW + 300 * DAY)
    assert scene.verdict(FRESH) is Verdict.STALE


def test_the_store_stays_as_it_was(scene: Scene) -> None:
    """Deciding reads."""
    scene.attest("alice")
    with open_directory(scene.store, create=False) as store:
        before = store.head()
    scene.decide(ACCURATE)
    with open_directory(scene.store, create=False) as store:
        assert store.head() == before and not store.check().problems
        assert digest(store.read(store.find()[0])) == store.find()[0].blob
