"""The trusted cache: what is unchanged is not read again, what is not is; and whatever is odd means reading it all."""

from __future__ import annotations

import os
import shutil
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.targets.digest.cachefile import (
    Refused,
    Rows,
    cache_folder,
    cache_path,
    check_file_system,
    file_system,
    load,
    save,
)
from assay.targets.digest.plan import IDENTITY
from assay.targets.interface import SEGMENT, Manifest, Options, Reference
from assay.targets.local import LocalTarget, open_directory, open_file


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One for every test, old enough for their files' ctimes to count: no program can set a ctime."""
    root = tmp_path_factory.mktemp("settled")
    made = [root / f"tree{k}" for k in range(60)]
    for tree in made:
        (tree / "sub").mkdir(parents=True)
        for i in range(5):
            (tree / "sub" / f"f{i}").write_bytes(f"{tree.name}/{i}".encode())
        with (tree / "big.bin").open("wb") as file:
            file.truncate(2 * SEGMENT + 1)
    time.sleep(2.2)
    return made


@pytest.fixture
def tree(trees: list[Path]) -> Path:
    """Files of which no other test changes one."""
    return trees.pop()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "assay" / "digests"


def opened(tree: Path, **options: object) -> LocalTarget:
    return open_directory(Reference("dir", str(tree)), Options(trust_cache=True, **options))  # type: ignore[arg-type]


def read(tree: Path, *, sha256: bool = True, blake3: bool = True) -> tuple[Manifest, int, int, str | None]:
    target = opened(tree)
    manifest = target.manifest(sha256=sha256, blake3=blake3)
    return manifest, target.reread, target.from_cache, target.cache_note


def truth(tree: Path, *, sha256: bool = True, blake3: bool = True) -> Manifest:
    return open_directory(Reference("dir", str(tree)), Options()).manifest(sha256=sha256, blake3=blake3)


def same(one: Manifest, two: Manifest) -> bool:
    return list(one) == list(two) and one.sha256 == two.sha256 and one.blake3 == two.blake3


def test_the_second_time_nothing_is_read(tree: Path) -> None:
    first, reread, from_cache, note = read(tree)
    assert (reread, from_cache, note) == (6, 0, None)
    second, reread, from_cache, note = read(tree)
    assert (reread, from_cache, note) == (0, 6, None)
    assert same(first, second) and same(second, truth(tree))
    for kinds in ({"sha256": False}, {"blake3": False}):
        part, reread, _, _ = read(tree, **kinds)
        assert reread == 0 and same(part, truth(tree, **kinds))


def test_without_the_option_the_cache_is_not_touched(tree: Path, home: Path) -> None:
    truth(tree)
    assert not home.exists()


def test_what_changed_is_read_again(tree: Path) -> None:
    read(tree)
    victim = tree / "sub" / "f3"
    stamp = victim.stat()
    victim.write_bytes(b"X" * stamp.st_size)  # same size, and the old mtime restored: only ctime tells
    os.utime(victim, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    (tree / "sub" / "f1").unlink()
    (tree / "sub" / "new").write_bytes(b"new")
    manifest, reread, from_cache, _ = read(tree)
    assert (reread, from_cache) == (2, 4)
    assert same(manifest, truth(tree))


def test_a_changed_byte_in_a_large_file_is_seen(tree: Path) -> None:
    before, *_ = read(tree)
    with (tree / "big.bin").open("r+b") as file:
        file.seek(SEGMENT + 5)
        file.write(b"!")
    after, reread, from_cache, _ = read(tree)
    assert (reread, from_cache) == (1, 5) and same(after, truth(tree))
    assert before[0].segments[:32] == after[0].segments[:32] and before[0].segments != after[0].segments


def test_a_renamed_or_copied_file_is_read_again(tree: Path) -> None:
    read(tree)
    (tree / "sub" / "f0").rename(tree / "sub" / "moved")  # rename(2) sets ctime on the common file systems
    shutil.copy2(tree / "sub" / "f1", tree / "sub" / "copy")
    manifest, reread, _, _ = read(tree)
    assert reread == 2 and same(manifest, truth(tree))


def test_a_target_that_stays_open_is_looked_at_again(tree: Path) -> None:
    target = opened(tree)
    target.manifest()
    victim = tree / "sub" / "f2"
    time.sleep(1.1)
    victim.write_bytes(b"Y" * victim.stat().st_size)
    assert same(target.manifest(), truth(tree))
    assert target.reread == 1


def test_young_files_are_read_again(tmp_path: Path) -> None:
    """Within two seconds of the cache's writing, a later write could have left the same ctime."""
    (tmp_path / "t").mkdir()
    since = 0
    while time.time_ns() - since > 1_900_000_000:  # where all of it took longer, nothing was within two seconds
        since = time.time_ns()
        (tmp_path / "t" / "f").write_bytes(b"young")
        answers = [read(tmp_path / "t")[1:] for _ in range(2)]
    assert answers == [(1, 0, None)] * 2


def test_a_digest_that_was_not_computed_is_not_believed(tree: Path) -> None:
    read(tree, sha256=False)
    manifest, reread, _, _ = read(tree, sha256=True)
    assert reread == 6 and same(manifest, truth(tree))
    assert read(tree)[1] == 0


def test_parts_and_single_files_have_rows_of_their_own(tree: Path, home: Path) -> None:
    read(tree)
    part = opened(tree, paths=("sub",))
    part.manifest()
    assert read(tree)[1] == 0  # the part has not displaced the whole
    one = open_file(Reference("file", str(tree / "big.bin")), Options(trust_cache=True))
    one.manifest()
    assert len([name for name in os.listdir(home) if name != "key"]) == 3


def forge(home: Path, change: object) -> None:
    path = next(entry for entry in home.iterdir() if entry.name != "key")
    data = bytearray(path.read_bytes())
    change(data)  # type: ignore[operator]
    path.write_bytes(data)


def flip(at: int) -> object:
    def change(data: bytearray) -> None:
        data[at] ^= 1

    return change


@pytest.mark.parametrize("at", [0, 70, 300, 500, -33, -1])
def test_a_changed_cache_file_is_not_believed(tree: Path, home: Path, at: int) -> None:
    read(tree)
    forge(home, flip(at))
    manifest, reread, from_cache, note = read(tree)
    assert (reread, from_cache) == (6, 0) and same(manifest, truth(tree))
    assert note is not None and "damaged" in note
    assert read(tree)[1] == 0  # and it was written anew


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=600))
def test_no_bytes_in_the_cache_file_are_believed_or_break_it(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = str(tmp_path_factory.mktemp("c"))
    Path(cache_path(folder, "scope")).write_bytes(data)
    with pytest.raises(Refused, match="damaged"):
        load(folder, "scope")


@pytest.mark.parametrize("file", ["key", "rows", "folder", "parent"])
def test_what_others_could_have_written_is_refused(tree: Path, home: Path, file: str) -> None:
    read(tree)
    path = {"key": home / "key", "folder": home, "parent": home.parent}.get(file)
    if path is None:
        path = next(entry for entry in home.iterdir() if entry.name != "key")
    os.chmod(path, path.stat().st_mode | 0o020)
    manifest, reread, _, note = read(tree)
    assert reread == 6 and same(manifest, truth(tree))
    assert note is not None and "written by others" in note


def test_a_key_that_others_can_read_is_refused(tree: Path, home: Path) -> None:
    read(tree)
    os.chmod(home / "key", 0o640)
    _, reread, _, note = read(tree)
    assert reread == 6 and note is not None and "key" in note


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("file", ["key", "rows", "folder"])
def test_what_belongs_to_somebody_else_is_refused(tree: Path, home: Path, file: str) -> None:
    read(tree)
    path = {"key": home / "key", "folder": home}.get(file)
    os.chown(path or next(entry for entry in home.iterdir() if entry.name != "key"), 65534, -1)
    _, reread, _, note = read(tree)
    assert reread == 6 and note is not None and "another user" in note


@pytest.mark.parametrize("file", ["key", "rows"])
def test_links_in_the_cache_are_not_followed(tree: Path, home: Path, tmp_path: Path, file: str) -> None:
    read(tree)
    path = home / "key" if file == "key" else next(entry for entry in home.iterdir() if entry.name != "key")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    _, reread, _, note = read(tree)
    assert reread == 6 and note is not None and "cannot be read" in note


def test_another_key_and_another_scope(tree: Path, home: Path) -> None:
    read(tree)
    (home / "key").unlink()
    assert read(tree)[1] == 6
    rows = next(entry for entry in home.iterdir() if entry.name != "key")
    folder = cache_folder()
    shutil.copy(rows, cache_path(folder, "another target"))
    with pytest.raises(Refused, match="damaged"):
        load(folder, "another target")


def test_a_home_that_cannot_be_written(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    manifest, reread, _, note = read(tree)
    assert reread == 6 and note is not None and "cannot be used" in note and same(manifest, truth(tree))


def test_a_clock_that_was_set_is_noticed(tmp_path: Path) -> None:
    """The times in a genuine file are moved, and it is authenticated again with the real key."""
    folder = str(tmp_path)
    rows = Rows(0, bytes(IDENTITY), b"\x03", bytes(32), bytes(32), {})
    save(folder, "scope", rows)
    assert load(folder, "scope") is not None
    path = Path(cache_path(folder, "scope"))
    good = path.read_bytes()
    written, uptime = struct.unpack_from("<QQ", good)
    hour = 3600 * 10**9
    from assay.targets.digest.cachefile import key, tag

    for moved in ((written + hour, uptime), (written - hour, uptime)):
        body = struct.pack("<QQ", *moved) + good[16:-32]
        path.write_bytes(body + tag(key(folder), "scope", body))
        with pytest.raises(Refused, match="clock"):
            load(folder, "scope")
    ago = uptime // 2
    body = struct.pack("<QQ", written - ago, uptime - ago) + good[16:-32]  # some time ago, as it should be
    path.write_bytes(body + tag(key(folder), "scope", body))
    assert load(folder, "scope") is not None


def test_file_systems(tmp_path: Path) -> None:
    assert file_system("/proc") == "proc"
    with pytest.raises(Refused, match=r"\(proc\)"):
        check_file_system("/proc/self")
    assert file_system("/proc-is-not-a-mount-point") == file_system("/")
    check_file_system(str(tmp_path))


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = Rows(0, os.urandom(3 * IDENTITY), b"\x01\x02\x03", os.urandom(96), os.urandom(96), {1: os.urandom(64)})
    before = time.time_ns()
    save(str(tmp_path), "s", rows)
    back = load(str(tmp_path), "s")
    assert back is not None and before <= back.written <= time.time_ns()
    assert (back.identities, back.known, back.sha256, back.blake3, back.segments) == (
        rows.identities,
        rows.known,
        rows.sha256,
        rows.blake3,
        rows.segments,
    )
    assert load(str(tmp_path), "another") is None
    assert os.stat(cache_path(str(tmp_path), "s")).st_mode & 0o777 == 0o600
