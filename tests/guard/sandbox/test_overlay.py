"""Overlaid outputs: upper is exactly what the step wrote, all of it comes to its place, and nothing is ever lost."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import pytest

from assay.collect.trace import kernel
from assay.errors import AssayError, UndecidedError
from assay.guard.sandbox import mounts, namespaces
from assay.guard.sandbox.overlay import Overlays, unfit
from collect.trace.steps import plain_user


@pytest.fixture(params=("root", "user"))
def who(request):
    """The number of whoever runs the step."""
    return 0 if request.param == "root" else plain_user()


@pytest.fixture
def out(who):
    """An output folder with one file in it, of a user who can reach it."""
    root = Path(os.path.realpath(tempfile.mkdtemp(prefix="assay-overlay-")))
    root.chmod(0o755)
    (root / "home/out").mkdir(parents=True)
    (root / "home/out/old").write_text("old\n")
    for path in (root / "home", root / "home/out", root / "home/out/old"):
        os.chown(path, who, who)
    yield root / "home/out"
    shutil.rmtree(root)


def become(who):
    if who:
        os.setgroups([])
        os.setresgid(who, who, who)
        os.setresuid(who, who, who)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)


def in_child(work):
    """What ``work`` returns in a forked child, by way of JSON."""
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        try:
            made = {"made": work()}
        except BaseException:
            made = {"failed": traceback.format_exc()}
        with os.fdopen(tell, "w") as file:
            json.dump(made, file)
        os._exit(0)
    os.close(tell)
    with os.fdopen(told) as file:
        answer = json.load(file)
    os.waitpid(child, 0)
    assert "failed" not in answer, answer["failed"]
    return answer["made"]


def through(out, who, work, settle=lambda overlays: overlays.settle(keep=True)):
    """Run ``work`` as a step of ``who`` with ``out`` overlaid; what `products` and `settle` say."""

    def run():
        become(who)
        assert unfit(str(out)) is None
        overlays = Overlays([str(out)])

        def step():
            mounts.read_only([str(out)], programs=False, overlaid=overlays.layers)
            os.chdir(out)
            work()
            assert os.listdir(overlays.layers[0].staging) == []  # of its layers it sees nothing

        in_child(step)
        products = sorted(path.removeprefix(f"{out}/") for path in overlays.products())
        return [products, settle(overlays)]

    return in_child(run)


def listing(out):
    return sorted(os.path.relpath(path, out) for path in out.rglob("*"))


def beside(out):
    return sorted(os.listdir(out.parent))


def test_what_was_written_comes_to_its_place_and_is_all_that_is_listed(out, who):
    before = os.stat(out / "old")

    def work():
        Path("model/weights").mkdir(parents=True)
        Path("model/weights/a.bin").write_text("a")
        Path("log").write_text("one\n")
        assert Path("old").read_text() == "old\n"
        assert os.stat("old").st_ino == before.st_ino

    assert through(out, who, work) == [["log", "model/weights/a.bin"], []]
    assert listing(out) == ["log", "model", "model/weights", "model/weights/a.bin", "old"]
    now = os.stat(out / "old")
    assert (now.st_ino, now.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
    assert beside(out) == ["out"]
    for path in out.rglob("*"):
        assert os.stat(path).st_uid == who
        assert os.listxattr(path) == []


def test_nothing_reaches_the_folder_before_it_is_settled(out, who):
    def work():
        Path("new").write_text("new")
        Path("old").write_text("changed")

    def settle(overlays):
        assert os.listdir(out) == ["old"] and (out / "old").read_text() == "old\n"
        return overlays.settle(keep=True)

    assert through(out, who, work, settle) == [["new", "old"], []]
    assert (out / "old").read_text() == "changed"
    assert (out / "new").read_text() == "new"


def test_it_can_be_thrown_away(out, who):
    def work():
        Path("new").mkdir()
        os.chmod("new", 0)
        Path("old").unlink()

    through(out, who, work, lambda overlays: overlays.settle(keep=False))
    assert listing(out) == ["old"] and beside(out) == ["out"]


def test_what_was_deleted_is_deleted(out, who):
    assert through(out, who, lambda: os.unlink("old")) == [[], []]
    assert listing(out) == [] and beside(out) == ["out"]


def test_what_was_renamed_is_renamed(out, who):
    assert through(out, who, lambda: os.rename("old", "new")) == [["new"], []]
    assert listing(out) == ["new"] and (out / "new").read_text() == "old\n"
    assert os.listxattr(out / "new") == []


def test_one_file_replaces_another_under_its_name(out, who):
    def work():
        Path("part").write_text("new")
        os.replace("part", "old")

    assert through(out, who, work) == [["old"], []]
    assert listing(out) == ["old"] and (out / "old").read_text() == "new"


def test_a_folder_takes_the_place_of_a_file(out, who):
    def work():
        os.unlink("old")
        os.mkdir("old")
        Path("old/file").write_text("x")
        os.rename("old", "moved")  # made in this run: an overlay can rename it
        os.mkdir("old")

    assert through(out, who, work) == [["moved/file"], []]
    assert listing(out) == ["moved", "moved/file", "old"]
    assert all(os.listxattr(path) == [] for path in out.rglob("*"))


def test_kinds_modes_times_links_and_attributes_are_kept(out, who):
    def work():
        Path("one").write_text("1")
        os.link("one", "two")
        os.mkdir("deep")
        os.link("one", "deep/three")
        os.symlink("/etc/passwd", "outside")
        os.symlink("nowhere", "dangling")
        os.mkfifo("fifo", 0o640)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")
        os.chmod("one", 0o755)
        os.utime("one", ns=(1_000_000_007, 2_000_000_009))
        os.setxattr("one", "user.note", b"kept")
        os.setxattr("old", "user.note", b"kept too")
        os.setxattr("old", "user.overlay.opaque", b"y")

    before = os.stat("/etc/passwd")
    assert through(out, who, work) == [["deep/three", "old", "one", "two"], []]
    one = os.lstat(out / "one")
    assert (one.st_nlink, stat.S_IMODE(one.st_mode), one.st_mtime_ns) == (3, 0o755, 2_000_000_009)
    assert os.lstat(out / "two").st_ino == os.lstat(out / "deep/three").st_ino == one.st_ino
    assert os.getxattr(out / "one", "user.note") == b"kept"
    assert {name: os.getxattr(out / "old", name) for name in os.listxattr(out / "old")} == {
        "user.note": b"kept too",
        "user.overlay.opaque": b"y",
    }
    assert os.readlink(out / "outside") == "/etc/passwd" and os.readlink(out / "dangling") == "nowhere"
    assert stat.S_ISFIFO(os.lstat(out / "fifo").st_mode) and stat.S_IMODE(os.lstat(out / "fifo").st_mode) == 0o640
    assert stat.S_ISSOCK(os.lstat(out / "socket").st_mode)
    assert os.stat("/etc/passwd").st_ctime_ns == before.st_ctime_ns
    assert beside(out) == ["out"]


def test_what_the_step_locks_itself_out_of_is_kept_and_listed(out, who):
    def work():
        for folder in ("closed", "closed/inner", "full"):
            os.mkdir(folder)
        for file in ("closed/inner/a", "full/b", "c"):
            Path(file).write_text(file)
            os.chmod(file, 0)
        os.chmod("old", 0o200)
        os.setxattr("old", "user.note", b"x")
        os.chmod("old", 0)
        for folder, mode in (("closed/inner", 0), ("closed", 0), ("full", 0o555), (".", 0o500)):
            os.chmod(folder, mode)

    assert through(out, who, work) == [["c", "closed/inner/a", "full/b", "old"], []]
    modes = {str(path.relative_to(out)): stat.S_IMODE(os.lstat(path).st_mode) for path in [out, *out.rglob("*")]}
    assert modes == {".": 0o500, "c": 0, "closed": 0, "closed/inner": 0, "closed/inner/a": 0, "full": 0o555,
                     "full/b": 0, "old": 0}  # fmt: skip
    assert (out / "closed/inner/a").read_text() == "closed/inner/a"
    assert os.listxattr(out / "old") == ["user.note"]
    assert beside(out) == ["out"]


def test_names_are_bytes(out, who):
    names = [b"a,b:c\\d", b"new\nline", b"\xff\xfe", "é".encode() * 127, b"-rf", b"user.overlay"]

    def work():
        for name in names:
            with open(name, "wb") as file:
                file.write(name)

    products, notes = through(out, who, work)
    assert sorted(map(os.fsencode, products)) == sorted(names) and notes == []
    assert sorted(os.listdir(os.fsencode(out))) == sorted([*names, b"old"])


def test_a_large_file_is_moved_and_not_copied(out, who):
    def work():
        with open("large", "wb") as file:
            file.seek(1 << 36)
            file.write(b"end")
            Path("number").write_text(str(os.fstat(file.fileno()).st_ino))

    assert through(out, who, work)[0] == ["large", "number"]
    found = os.stat(out / "large")
    assert found.st_size == (1 << 36) + 3 and found.st_blocks < 1000
    assert str(found.st_ino) == (out / "number").read_text()


def test_a_tree_that_is_deeper_than_paths_can_be_is_moved_and_said(out, who):
    def work():
        Path("file").write_text("x")
        for _ in range(1500):
            os.mkdir("folder")
            os.chdir("folder")
        Path("bottom").write_text("x")

    products, (note,) = through(out, who, work)
    assert products == ["file"] and "too deep" in note
    folder, depth = os.open(out, os.O_RDONLY), 0
    while "folder" in os.listdir(folder):
        below = os.open("folder", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder, depth = below, depth + 1
    assert depth == 1500 and os.listdir(folder) == ["bottom"]
    os.close(folder)
    subprocess.run(["rm", "-rf", out / "folder"], check=True)  # shutil cannot


def test_a_folder_with_any_name_can_be_laid_over(out, who):
    strange = out.with_name("a:b,c\\d 'e'\n")
    out.rename(strange)
    assert through(strange, who, lambda: Path("new").write_text("x")) == [["new"], []]
    assert listing(strange) == ["new", "old"]


def test_links_in_the_output_lead_nowhere_when_it_is_settled(out, who):
    """Root settles what a step has made: it must not write through its links."""
    victim = out.parent / "victim"
    victim.mkdir()
    os.chown(victim, who, who)
    (victim / "old").write_text("mine")

    def work():
        os.unlink("old")
        os.symlink(victim / "old", "old")
        os.symlink(victim, "folder")

    assert through(out, who, work) == [[], []]
    assert (victim / "old").read_text() == "mine" and os.listdir(victim) == ["old"]
    assert os.readlink(out / "old") == f"{victim}/old"


def test_what_somebody_else_changed_meanwhile_is_kept_and_said(out, who):
    def work():
        for name in ("both", "old", "file"):
            Path(name).write_text("the step's")
        os.mkdir("logs")
        Path("logs/mine").write_text("the step's")
        Path("logs/same").write_text("the step's")

    def settle(overlays):
        for name in ("both", "old", "more"):
            (out / name).write_text("theirs")
        (out / "file").mkdir()
        (out / "logs").mkdir()
        for name in ("file/inner", "logs/theirs", "logs/same"):
            (out / name).write_text("theirs")
        return overlays.settle(keep=True)

    products, notes = through(out, who, work, settle)
    assert products == ["both", "file", "logs/mine", "logs/same", "old"]
    for name in products:
        assert (out / name).read_text() == "the step's"
    assert (out / "more").read_text() == (out / "logs/theirs").read_text() == "theirs"
    kept = {note.split(" was changed")[0].removeprefix(f"{out}/"): Path(note.rpartition(" is ")[2]) for note in notes}
    assert set(kept) == {"both", "old", "file", "logs/same"}
    assert all((path / "inner" if path.is_dir() else path).read_text() == "theirs" for path in kept.values())


def test_what_somebody_else_changed_is_not_deleted(out, who):
    def settle(overlays):
        (out / "old").write_text("theirs now")
        return overlays.settle(keep=True)

    products, (note,) = through(out, who, lambda: os.unlink("old"), settle)
    assert products == [] and "it was left" in note
    assert (out / "old").read_text() == "theirs now"


def test_what_cannot_be_moved_stays_and_is_moved_later(out, who):
    def settle(overlays):
        away = out.with_name("away")
        out.rename(away)
        with pytest.raises(AssayError, match="cannot be moved") as caught:
            overlays.settle(keep=True)
        place = caught.value.hint.removeprefix("it lies in ").partition(";")[0]
        assert (Path(place) / "new").read_text() == "new"
        away.rename(out)
        return overlays.settle(keep=True)

    assert through(out, who, lambda: Path("new").write_text("new"), settle) == [["new"], []]
    assert (out / "new").read_text() == "new" and beside(out) == ["out"]


def everything(out):
    """Contents of all regular files in and beside a folder, by their names."""
    found: dict[str, set[str]] = {}
    for path in out.parent.rglob("*"):
        if stat.S_ISREG(path.lstat().st_mode):
            found.setdefault(path.name, set()).add(path.read_text())
    return found


def test_killed_at_any_moment_nothing_is_lost(out, who):
    """Python tells of each call that it makes for the settling, and the nth of them is the last."""

    def work():
        for name in ("a", "b", "tree/c", "tree/d"):
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_text(Path(name).name)
        os.chmod("tree", 0o500)
        Path("old").write_text("changed")

    def killed_at(last):
        def settle(overlays):
            child = os.fork()
            if not child:
                told = 0

                def count(event, arguments):
                    nonlocal told
                    told += 1
                    if told == last:
                        os.kill(os.getpid(), signal.SIGKILL)

                sys.addaudithook(count)
                overlays.settle(keep=True)
                os._exit(0)
            return os.waitpid(child, 0)[1]

        return settle

    for last in range(1, 400, 2):
        (out / "old").write_text("old\n")
        _, status = through(out, who, work, killed_at(last))
        found = everything(out)
        assert found["old"] <= {"old\n", "changed"} and "changed" in found["old"], last
        assert all(found[name] == {name} for name in ("a", "b", "c", "d")), (last, found)
        if status == 0:
            break
        for name in os.listdir(out.parent):
            if name != "out":
                shutil.rmtree(out.parent / name)
        shutil.rmtree(out)
        out.mkdir()
        os.chown(out, who, who)
        (out / "old").touch()
        os.chown(out / "old", who, who)
    assert status == 0 and last > 20 and beside(out) == ["out"]


def test_a_run_that_was_killed_is_found_by_the_next(out, who):
    def killed():
        become(who)
        overlays = Overlays([str(out)])
        (Path(overlays.layers[0].files) / "lost").write_text("x")
        return overlays.layers[0].staging

    staging = in_child(killed)

    def settle(overlays):
        assert Overlays([str(out)]).notes == overlays.notes  # one that goes on is none that was killed
        return overlays.settle(keep=True)

    _, notes = through(out, who, lambda: None, settle)
    assert notes == [f"an interrupted run left what it wrote in {staging}: move it or delete it"]
    assert (Path(staging) / "files/lost").read_text() == "x"


class TestUnfit:
    def why(self, out, who):
        return in_child(lambda: (become(who), unfit(str(out)))[1])

    def test_folders_cannot_be_renamed(self, out, who):
        (out / "folder").mkdir()
        assert self.why(out, who) == "it holds folders already"

    def test_hard_links_would_be_torn_apart(self, out, who):
        os.link(out / "old", out.parent / "other")
        assert self.why(out, who) == "it holds hard links or many files already"

    def test_inherited_rights_cannot_be_kept(self, out, who):
        # acl(5), linux/posix_acl_xattr.h: version 2; the owner, the group and all others may do everything
        entries = b"".join(bytes((tag, 0, 7, 0)) + b"\xff" * 4 for tag in (1, 4, 0x20))
        os.setxattr(out, "system.posix_acl_default", (2).to_bytes(4, "little") + entries)
        assert self.why(out, who) == "its attributes cannot be kept"

    def test_nothing_can_lie_beside_it(self, out, who):
        os.chown(out.parent, 0, 0)
        assert self.why(out, who) == ("nothing can be put beside it" if who else None)
        assert unfit("/proc/self") is not None
        assert unfit(str(out / "old")) == "it is no folder that can be written to"
        assert "No such file" in unfit(str(out / "none"))

    def test_what_belongs_to_others_cannot_be_copied(self, out, who):
        os.chown(out / "old", who + 1, who)
        assert self.why(out, who) == ("it holds files of somebody else" if who else None)
        os.chown(out, who + 1, who)
        out.chmod(0o777)
        assert self.why(out, who) == ("it belongs to somebody else" if who else None)

    def test_mounts_in_it(self, out, who):
        (out / "mounted").mkdir()

        def mounted():
            become(who)
            namespaces.new_user()
            namespaces.unshare(namespaces.NEWNS)
            namespaces.mount("tmpfs", str(out / "mounted"), "tmpfs")
            inside = unfit(str(out))
            namespaces.mount("tmpfs", str(out), "tmpfs")
            return [inside, unfit(str(out))]

        assert in_child(mounted) == ["something is mounted there", "nothing can be put beside it"]


def test_a_place_that_vanishes_is_said_before_the_step_starts(out):
    with pytest.raises(UndecidedError, match="cannot be laid over"):
        Overlays([str(out), str(out.parent / "none/out")])
    assert beside(out) == ["out"]
