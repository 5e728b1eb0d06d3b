"""Every way of changing a store behind its back is found by `check` and named; an index can always be built again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.errors import AssayError, StoreError, UsageError
from assay.evidence.stores import open_directory
from assay.evidence.stores.heads import Heads
from assay.evidence.stores.index import Index
from assay.evidence.stores.interface import Head, Report, Store
from evidence.store_making import NOW, bundle, digest_of

ENTRIES = 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of seven statements, of which the third is discarded by entry 8."""
    with open_directory(str(tmp_path / "evidence"), create=True) as store:
        for i in range(1, ENTRIES):
            store.add(bundle(i), now=NOW, labels={"n": str(i)})
        store.discard(store.get("3"), reason="bad", now=NOW)
    return tmp_path / "evidence"


def opened(folder: Path) -> Store:
    return open_directory(str(folder), create=False)


def check(folder: Path, expect_head: str | None = None) -> Report:
    with opened(folder) as store:
        return store.check(expect_head)


def entry_file(folder: Path, seq: int) -> Path:
    return folder / "log" / "000000" / f"{seq:09d}.json"


def blob_file(folder: Path, seq: int) -> Path:
    name = json.loads(entry_file(folder, seq).read_bytes())["blob"]
    return folder / "blobs" / name[:2] / f"{name}.json"


def rewrite(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def edit(folder: Path, seq: int, **changes: object) -> None:
    """Change an entry in the form in which the store itself would write it."""
    path = entry_file(folder, seq)
    document = {**json.loads(path.read_bytes()), **changes}
    kept = dict(sorted((key, value) for key, value in document.items() if value is not None))
    rewrite(path, json.dumps(kept, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")


def relink(folder: Path, first: int) -> None:
    """Make the chain consistent again, as a forger would."""
    for seq in range(max(first, 2), ENTRIES + 1):
        edit(folder, seq, previous=hashlib.sha256(entry_file(folder, seq - 1).read_bytes()).hexdigest())


def test_an_untouched_store_is_clean(folder: Path) -> None:
    report = check(folder)
    assert (report.entries, report.head.seq, report.problems, report.unlinked) == (ENTRIES, ENTRIES, (), 0)
    assert check(folder, str(report.head)).problems == ()
    assert check(folder, report.head.digest).problems == ()


def swap_entries(folder: Path) -> None:
    a, b = entry_file(folder, 4), entry_file(folder, 5)
    first, second = a.read_bytes(), b.read_bytes()
    rewrite(a, second)
    rewrite(b, first)


def swap_blobs(folder: Path) -> None:
    a, b = blob_file(folder, 4), blob_file(folder, 5)
    first, second = a.read_bytes(), b.read_bytes()
    rewrite(a, second)
    rewrite(b, first)


def link_blob(folder: Path) -> None:
    path = blob_file(folder, 4)
    shutil.move(path, folder.parent / "elsewhere.json")
    path.symlink_to(folder.parent / "elsewhere.json")


def link_blob_folder(folder: Path) -> None:
    path = blob_file(folder, 4).parent
    shutil.move(path, folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")


def folder_for_blob(folder: Path) -> None:
    path = blob_file(folder, 4)
    path.unlink()
    path.mkdir()


def forge_history(folder: Path) -> None:
    edit(folder, 2, labels={"n": "x"})
    relink(folder, 3)


def pipe_for_entry(folder: Path) -> None:
    entry_file(folder, 4).unlink()
    os.mkfifo(entry_file(folder, 4))


TAMPERING: dict[str, tuple[Callable[[Path], None], str]] = {
    "blob removed": (lambda f: blob_file(f, 4).unlink(), "entry 4: the bundle .* was removed"),
    "blob replaced by another bundle": (
        lambda f: rewrite(blob_file(f, 4), bundle(99)),
        "entry 4: the bundle .* was replaced or edited",
    ),
    "blob emptied": (lambda f: rewrite(blob_file(f, 4), b""), "entry 4: the bundle .* was replaced or edited"),
    "blobs swapped": (swap_blobs, "entry 5: the bundle .* was replaced or edited"),
    "blob behind a link": (link_blob, "entry 4: the bundle .* is not a plain file"),
    "blob folder behind a link": (link_blob_folder, "entry 4: the bundle .* is not a plain file in a plain folder"),
    "blob is a folder": (
        folder_for_blob,
        "entry 4: the bundle .* is not a plain file",
    ),
    "entry removed": (lambda f: entry_file(f, 4).unlink(), "entry 4 was removed"),
    "first entry removed": (lambda f: entry_file(f, 1).unlink(), "entry 1 was removed"),
    "entry emptied": (lambda f: rewrite(entry_file(f, 4), b""), "entry 4 is not JSON"),
    "entry in another spelling": (
        lambda f: rewrite(entry_file(f, 4), entry_file(f, 4).read_bytes().replace(b",", b", ", 1)),
        "entry 4 is not an entry of an evidence log",
    ),
    "label edited": (lambda f: edit(f, 4, labels={"n": "40"}), "entry 4 was replaced or edited"),
    "time edited": (lambda f: edit(f, 4, time="2020-01-01T00:00:00.000000Z"), "entry 5 does not follow entry 4"),
    "entry of a kind that is none": (lambda f: edit(f, 4, kind="note"), "entry 4 is not an entry of an evidence log"),
    "entry with a further field": (lambda f: edit(f, 4, extra="x"), "entry 4 is not an entry of an evidence log"),
    "entries swapped": (swap_entries, "entry 4 says that it is entry 5: the log was reordered"),
    "tombstone redirected": (
        lambda f: edit(f, 8, discards=4),
        "entry 8 discards entry 4, which is not such a statement",
    ),
    "tombstone made a statement": (
        lambda f: edit(f, 8, kind="statement", discards=None, reason=None),
        "entry 8 was replaced or edited",
    ),
    "entry is a pipe": (pipe_for_entry, "entry 4 of the store .* is not a plain file"),
    "history rewritten consistently": (
        forge_history,
        "entry 2 was replaced or edited since it was indexed",
    ),
    "newest entry removed": (lambda f: entry_file(f, 8).unlink(), "entry 8 was removed|remembers entry 8"),
}


@pytest.mark.parametrize("kind", TAMPERING)
def test_tampering_is_found_and_named(folder: Path, kind: str) -> None:
    import re

    tamper, sentence = TAMPERING[kind]
    tamper(folder)
    problems = check(folder).problems
    assert any(re.search(sentence, problem) for problem in problems), problems


@pytest.mark.parametrize("kind", TAMPERING)
def test_tampering_is_found_when_the_index_goes_too(folder: Path, kind: str) -> None:
    """Without the index, what was made consistent is found by the head that this user saw last."""
    TAMPERING[kind][0](folder)
    (folder / "index.sqlite").unlink()
    assert check(folder).problems


def test_a_changed_bundle_is_never_returned(folder: Path) -> None:
    rewrite(blob_file(folder, 4), bundle(99))
    with opened(folder) as store:
        with pytest.raises(StoreError, match="replaced or edited"):
            store.read(store.get("4"))
        with pytest.raises(StoreError, match="replaced or edited"):
            store.export(store.find())
        with pytest.raises(StoreError, match="replaced or edited"):
            store.add(bundle(4), now=NOW)  # nor is it called kept


def test_an_entry_that_points_at_another_bundle_is_not_read(folder: Path) -> None:
    edit(folder, 4, blob=json.loads(entry_file(folder, 5).read_bytes())["blob"])
    with opened(folder) as store, pytest.raises(StoreError, match="entry 4 is not what the index says"):
        store.read(store.get("4"))


def test_a_missing_entry_is_an_error_and_not_an_absence(folder: Path) -> None:
    entry_file(folder, 4).unlink()
    with opened(folder) as store:
        found = store.find(digest=digest_of(4))
        with pytest.raises(StoreError, match="entry 4 was removed"):
            store.read(found[0])
    (folder / "index.sqlite").unlink()
    with opened(folder) as store:
        assert any("missing or damaged (4)" in note for note in store.notes)
        with pytest.raises(StoreError, match="entry 4 is missing or damaged"):
            store.get("4")


# Cutting the newest entries off --------------------------------------------------------------------------------


def cut(folder: Path, *, index: bool) -> None:
    for seq in (6, 7, 8):
        entry_file(folder, seq).unlink()
    if index:
        (folder / "index.sqlite").unlink()


def test_the_index_remembers_what_was_cut(folder: Path, home: Path) -> None:
    shutil.rmtree(home / "state")
    cut(folder, index=False)
    with opened(folder) as store:
        assert any("was cut: entry 8 was removed" in note for note in store.notes)
        assert any("the index remembers entry 8" in problem for problem in store.check().problems)
        with pytest.raises(StoreError, match="was cut"):
            store.add(bundle(50), now=NOW)
        with pytest.raises(StoreError, match="was cut"):
            store.discard(store.get("1"), reason="r", now=NOW)
    assert not entry_file(folder, 6).exists()


def test_the_user_remembers_what_was_cut_with_the_index(folder: Path) -> None:
    cut(folder, index=True)
    for _ in range(2):  # the record is not overwritten by looking
        with opened(folder) as store:
            assert any("shorter than the one last seen here (entry 8" in note for note in store.notes)
            assert any("this user last saw it at entry 8" in problem for problem in store.check().problems)
    with opened(folder) as store:
        for i in range(20, 25):  # nor by growing past it
            store.add(bundle(i), now=NOW)
    with opened(folder) as store:
        assert any("is not the one last seen here" in note for note in store.notes)
        assert any("does not hold entry 8 as this user last saw it" in problem for problem in store.check().problems)


def test_the_caller_remembers_what_was_cut(folder: Path, home: Path) -> None:
    head = check(folder).head
    cut(folder, index=True)
    shutil.rmtree(home / "state")
    assert check(folder).problems == ()  # nothing on this machine remembers
    for expected in (str(head), head.digest):
        assert any("the expected head says" in problem for problem in check(folder, expected).problems)
    for text in ("", "8", "x" * 64, f"x:{head.digest}", head.digest[:-1], f"8:{head.digest}0"):
        with pytest.raises(UsageError, match="expected head"):
            check(folder, text)


def test_an_earlier_head_is_still_in_a_longer_log(folder: Path) -> None:
    head = check(folder).head
    with opened(folder) as store:
        store.add(bundle(60), now=NOW)
        assert store.check(str(head)).problems == ()


def test_a_rewritten_history_differs_from_the_one_last_seen(folder: Path) -> None:
    edit(folder, 2, labels={"n": "x"})
    relink(folder, 3)
    (folder / "index.sqlite").unlink()
    with opened(folder) as store:
        assert any("is not the one last seen here" in note for note in store.notes)
        assert any("does not hold entry 8" in problem for problem in store.check().problems)


def test_a_new_store_in_the_place_of_an_old_one_is_said_once(folder: Path) -> None:
    shutil.rmtree(folder)
    with open_directory(str(folder), create=True) as store:
        assert store.notes == ("a store of 8 entries was last seen here; this is a new one",)
        store.add(bundle(1), now=NOW)
        assert store.check().problems == ()
    with opened(folder) as store:
        assert store.notes == ()
        assert store.check().problems == ()


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"a": "1:zz"}', '{"a":"1:' + "0" * 64 + '","a":""}', "\xff"])
def test_a_damaged_record_of_heads_is_said(folder: Path, home: Path, text: str) -> None:
    (home / "state" / "assay" / "heads.json").write_text(text)
    with opened(folder) as store:
        assert any("heads.json" in note for note in store.notes)
        assert len(store.find()) == ENTRIES - 2


# The index -----------------------------------------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def scribble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for at in range(4096, len(data), 64):
        data[at] ^= 0xFF
    path.write_bytes(data)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_link(path: Path) -> None:
    shutil.move(path, path.parent.parent / "elsewhere.sqlite")
    path.symlink_to(path.parent.parent / "elsewhere.sqlite")


def sql(statement: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.executescript(statement)
        connection.close()

    return change


BREAKING: dict[str, Callable[[Path], None]] = {
    "removed": lambda path: path.unlink(),
    "emptied": lambda path: rewrite(path, b""),
    "not a database": lambda path: rewrite(path, b"SQLite format 3?" * 999),
    "truncated": truncate,
    "scribbled over": scribble,
    "older schema": sql("DROP TABLE labels; CREATE TABLE labels (seq, label)"),
    "table missing": sql("DROP TABLE subjects"),
    "a planted trigger": sql("CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END"),
    "a planted view": sql("CREATE VIEW v AS SELECT 1"),
    "rows of another kind": sql("UPDATE entries SET time='never', labels='{'"),
    "a folder": make_folder,
    "a link": make_link,
}


@pytest.mark.parametrize("kind", BREAKING)
def test_a_broken_index_is_built_again(folder: Path, kind: str) -> None:
    with opened(folder) as store:
        before = store.find(discarded=True)
    BREAKING[kind](folder / "index.sqlite")
    with opened(folder) as store:
        assert store.find(discarded=True) == before
        assert [entry.seq for entry in store.find(labels={"n": "4"})] == [4]
        assert [entry.seq for entry in store.find(digest=digest_of(5))] == [5]
        assert store.notes
        assert store.add(bundle(30), now=NOW).seq == ENTRIES + 1
        assert store.check().problems == ()


def test_an_index_of_an_earlier_time_is_brought_up_to_date(folder: Path) -> None:
    old = (folder / "index.sqlite").read_bytes()
    with opened(folder) as store:
        store.add(bundle(40), now=NOW)
        store.discard(store.get("1"), reason="r", now=NOW)
    (folder / "index.sqlite").write_bytes(old)
    with opened(folder) as store:
        assert [entry.seq for entry in store.find()] == [9, 7, 6, 5, 4, 2]
        assert store.check().problems == ()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM subjects WHERE seq=5",
        "UPDATE entries SET discarded_by=8 WHERE seq=5",
        "UPDATE entries SET discarded_by=NULL",
        "UPDATE entries SET target='dir:x' WHERE seq=5",
        "INSERT INTO labels VALUES ('approved', 'yes', 5)",
        "INSERT INTO subjects VALUES ('ff', 5, 'sha256', 'x')",
        "DELETE FROM entries WHERE seq=5",
        "UPDATE signers SET signer='somebody' WHERE seq=5",
    ],
)
def test_an_index_that_lies_is_found(folder: Path, statement: str) -> None:
    sql(statement)(folder / "index.sqlite")
    assert any("the index" in problem and "differs" in problem for problem in check(folder).problems)
    (folder / "index.sqlite").unlink()
    assert check(folder).problems == ()


def test_a_lying_index_cannot_pass_one_bundle_off_as_another(folder: Path) -> None:
    other = json.loads(entry_file(folder, 5).read_bytes())["blob"]
    sql(f"UPDATE entries SET blob='{other}' WHERE seq=4")(folder / "index.sqlite")
    with opened(folder) as store, pytest.raises(StoreError, match="entry 4 is not what the index says"):
        store.read(store.get("4"))


def test_two_open_stores_survive_an_index_built_again(folder: Path) -> None:
    with opened(folder) as first, opened(folder) as second:
        assert len(first.find()) == len(second.find()) == 6
        (folder / "index.sqlite").unlink()
        assert second.add(bundle(30), now=NOW).seq == 9
        assert first.add(bundle(31), now=NOW).seq == 10
        index = Index.open(str(folder / "index.sqlite"))  # both wrote the file that is there, not the one that was
        assert index.head().seq == 10
        index.close()
        assert [entry.seq for entry in second.find(limit=2)] == [10, 9]
        assert second.check().problems == first.check().problems == ()


def test_the_journal_of_an_index_that_is_gone_does_not_spoil_the_next(folder: Path) -> None:
    """SQLite would roll a dead writer's journal back into whatever file has the index's name."""
    connection = sqlite3.connect(folder / "index.sqlite", isolation_level=None)
    connection.execute("PRAGMA cache_size=1")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE TABLE filler (x)")
    connection.executemany("INSERT INTO filler VALUES (?)", [("x" * 4000,)] * 50)
    connection.execute("UPDATE entries SET target='changed'")
    journal = (folder / "index.sqlite-journal").read_bytes()
    connection.execute("ROLLBACK")
    connection.close()
    assert len(journal) > 4096
    with opened(folder) as store:
        for i in range(200, 220):
            store.add(bundle(i), now=NOW)
    (folder / "index.sqlite-journal").write_bytes(journal)
    (folder / "index.sqlite").unlink()
    for notes in (("the index was missing and was built again from the log",), ()):
        with opened(folder) as store:
            assert store.notes == notes
            assert len(store.find()) == 26
            assert store.check().problems == ()


def test_a_bundle_that_somebody_else_put_in_place_is_not_taken_for_ours(folder: Path) -> None:
    data = bundle(77)
    name = hashlib.sha256(data).hexdigest()
    (folder / "blobs" / name[:2]).mkdir(exist_ok=True)
    (folder / "blobs" / name[:2] / f"{name}.json").write_bytes(bundle(78))
    with opened(folder) as store:
        with pytest.raises(StoreError, match="replaced or edited"):
            store.add(data, now=NOW)
        assert store.head().seq == ENTRIES


def test_an_older_head_does_not_replace_a_newer_one(tmp_path: Path) -> None:
    heads = Heads(str(tmp_path / "state" / "heads.json"))
    older, newer = Head(3, "3" * 64), Head(5, "5" * 64)
    heads.remember(str(tmp_path), newer)
    heads.remember(str(tmp_path), older)
    heads.remember(str(tmp_path / "other"), older)
    assert (heads.seen(str(tmp_path)), heads.seen(str(tmp_path / "other"))) == (newer, older)
    heads.remember(str(tmp_path), older, replace=True)
    assert heads.seen(str(tmp_path)) == older
    assert heads.seen(str(tmp_path / "third")) is None


def test_bundles_without_an_entry_are_counted(folder: Path) -> None:
    data = bundle(77)
    name = hashlib.sha256(data).hexdigest()
    (folder / "blobs" / name[:2]).mkdir(exist_ok=True)
    (folder / "blobs" / name[:2] / f"{name}.json").write_bytes(data)
    assert (check(folder).problems, check(folder).unlinked) == ((), 1)
    with opened(folder) as store:
        store.add(data, now=NOW)
        assert store.check().unlinked == 0


@pytest.mark.parametrize("part", ["blobs", "log"])
def test_nothing_is_written_through_a_linked_folder(folder: Path, tmp_path: Path, part: str) -> None:
    shutil.move(folder / part, tmp_path / "elsewhere")
    (folder / part).symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.joinpath("elsewhere").rglob("*"))
    with pytest.raises(AssayError), opened(folder) as store:
        store.add(bundle(90), now=NOW)
    assert sorted(tmp_path.joinpath("elsewhere").rglob("*")) == before
