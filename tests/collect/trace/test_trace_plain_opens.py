"""The short way of opens says what the long way says, also when a step tries to profit from it."""

import gc
import os
import threading

import pytest

from assay.collect.trace.processes import _MANY
from collect.trace.steps import names, plain_user, python, watch


def test_long_names_are_whole_however_they_are_read(tmp_path):
    """The first opens of a process are read another way than the later ones."""
    folder = tmp_path / ("d" * 200)
    folder.mkdir()
    for name in ("a" * 200, "b" * 200):
        (folder / name).write_text("1")
    trace = watch(
        python(f"""
        import os
        for _ in range({_MANY + 5}):
            os.close(os.open("{folder}/{"a" * 200}", os.O_RDONLY))
        os.close(os.open("{folder}/{"b" * 200}", os.O_RDONLY))
        """),
    )
    seen = names(trace, folder)
    assert {name: use.read for name, use in seen.items()} == {"a" * 200: _MANY + 5, "b" * 200: 1}


def test_relative_names_by_threads_and_after_moving(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "f").write_text("1")
    trace = watch(
        python("""
        import os, threading
        def opened(): os.close(os.open("f", os.O_RDONLY))
        for folder in "a", "../b":
            os.chdir(folder)
            for _ in range(20):
                opened()
                thread = threading.Thread(target=opened)
                thread.start()
                thread.join()
            os.listdir(".")
        """),
        directory=tmp_path,
    )
    seen = names(trace, tmp_path)
    assert trace.exit_code == 0
    assert (seen["a/f"].read, seen["b/f"].read) == (40, 40)
    assert (seen["a"].listed, seen["b"].listed) == (1, 1) and not seen["a"].read


def test_folders_are_listed_and_files_read_whichever_way_they_are_opened(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("1")
    trace = watch(
        python(f"""
        import os
        for _ in range(3):
            os.listdir("{tmp_path}/folder")
            os.close(os.open("{tmp_path}/folder", os.O_RDONLY))
            os.close(os.open("{tmp_path}/file", os.O_RDONLY))
            for missing in os.O_RDONLY, os.O_DIRECTORY:
                try: os.open("{tmp_path}/missing", missing)
                except OSError: pass
        """)
    )
    seen = names(trace, tmp_path)
    assert trace.exit_code == 0
    assert (seen["folder"].listed, seen["folder"].read) == (6, 0)
    assert (seen["file"].listed, seen["file"].read) == (0, 3)
    assert (seen["missing"].listed, seen["missing"].read, seen["missing"].first) == (3, 3, None)


def test_a_link_that_turns_between_two_opens(tmp_path):
    """Both were read by the same name before, so that the short way knows it."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
    os.symlink("one", tmp_path / "link")
    trace = watch(
        python(f"""
        import os
        os.chdir("{tmp_path}")
        for _ in range(12): open("{tmp_path}/link/f").close(); os.listdir("{tmp_path}/link")
        os.symlink("two", "new"); os.rename("new", "link")
        for _ in range(3): open("{tmp_path}/link/f").close(); open("link/f").close(); os.listdir("{tmp_path}/link")
        """)
    )
    seen = names(trace, tmp_path)
    assert trace.exit_code == 0
    assert seen["link/f"].read == 12 and seen["two/f"].read == 6
    assert seen["link"].listed == 12 and seen["two"].listed == 3


def test_garbage_is_looked_for_again_afterwards():
    watch(["true"])
    assert gc.isenabled() and not gc.get_freeze_count()


def test_a_mediated_open_is_as_it_was_asked_for(tmp_path):
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "data").write_text("data")
    trace = watch(
        python(f"""
        import fcntl, os
        where = "{inside}/data"
        for flags in 0, os.O_NONBLOCK, os.O_CLOEXEC, os.O_SYNC, os.O_NOATIME:
            for _ in range(2):
                got = os.open(where, flags | os.O_RDONLY)
                said = fcntl.fcntl(got, fcntl.F_GETFL)
                assert said & os.O_ACCMODE == os.O_RDONLY
                assert bool(said & os.O_NONBLOCK) == bool(flags & os.O_NONBLOCK), flags
                assert said & os.O_SYNC == flags & os.O_SYNC and said & os.O_NOATIME == flags & os.O_NOATIME, flags
                assert os.read(got, 9) == b"data"
        os.unlink(where); os.mkfifo(where)
        os.open(where, os.O_RDONLY | os.O_NONBLOCK)  # the monitor neither opens nor waits for it
        os.unlink(where); os.symlink("/etc/hostname", where)
        assert open(where).read() == open("/etc/hostname").read()
        try: os.open(f"{inside}/none", os.O_RDONLY)
        except FileNotFoundError: pass
        os.open("{inside}", os.O_RDONLY | os.O_DIRECTORY)
        try: os.open("{inside}/data/", os.O_RDONLY | os.O_DIRECTORY)
        except NotADirectoryError: pass
        """),
        mediate=[os.fsencode(inside)],
    )
    assert trace.exit_code == 0
    seen = names(trace, tmp_path)
    assert seen["in/data"].first.size == 4 and seen["in/data"].read == 11 and not seen["in/data"].mediated
    assert seen["in"].mediated and seen["in"].listed == 1


def test_pipes_among_the_inputs_are_the_steps_alone(tmp_path):
    """Were one opened and closed before, who writes into it would go on, and find nobody there."""
    (tmp_path / "in").mkdir()
    pipes = [f"{tmp_path}/in/{number}" for number in range(60)]
    for pipe in pipes:
        os.mkfifo(pipe)
    wrote: list[int] = []

    def produce():
        for pipe in pipes:
            end = os.open(pipe, os.O_WRONLY)
            wrote.append(os.write(end, b"words"))
            os.close(end)

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    read = f"""
    import time
    for pipe in {pipes}:
        time.sleep(0.002)  # it is waited for
        assert open(pipe).read() == "words"
    """
    trace = watch(python(read), mediate=[os.fsencode(tmp_path / "in")])
    thread.join(60)
    assert trace.exit_code == 0 and wrote == [5] * 60
    seen = names(trace, tmp_path)
    assert all(seen[f"in/{number}"].read == 1 and not seen[f"in/{number}"].mediated for number in range(60))


GIVING_UP = {
    "user": "os.setuid({user})",
    "real and effective user": "os.setresuid({user}, {user}, 0)",
    "effective user": "os.seteuid({user})",
    "user of files": "libc.setfsuid({user})",
    "capabilities": "assert not libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())",
}


def secret(folder):
    """A file that nobody may read, but who may pass over permissions."""
    assert os.geteuid() == 0, "these tests run as root"
    (folder / "in").mkdir()
    (folder / "in" / "secret").write_text("secret")
    os.chmod(folder / "in" / "secret", 0)
    os.chown(folder / "in" / "secret", plain_user(), -1)
    for above in (folder, folder.parent, folder.parent.parent):
        above.chmod(0o755)
    return f"{folder}/in/secret"


@pytest.mark.parametrize("how", GIVING_UP.values(), ids=GIVING_UP)
def test_a_step_that_gave_up_its_rights_gets_nothing_through_the_monitor(how, tmp_path):
    """The monitor of a step of root's may open what the step, become somebody else, may not."""
    where = secret(tmp_path)
    trace = watch(
        python(f"""
        import ctypes, os
        libc = ctypes.CDLL(None)
        for _ in range(12): open("{where}").close()
        {how.format(user=plain_user())}
        try: open("{where}")
        except PermissionError: raise SystemExit(7)
        """),
        mediate=[os.fsencode(tmp_path / "in")],
    )
    assert trace.exit_code == 7
    assert names(trace, tmp_path)["in/secret"].read == 13


def test_a_step_that_only_says_that_it_stays_root_goes_on_as_before(tmp_path):
    """As make and sudo's kin do."""
    where = secret(tmp_path)
    trace = watch(
        python(f"""
        import os
        os.setuid(0); os.setresuid(-1, 0, -1); os.setreuid(-1, -1)
        for _ in range(3): open("{where}").close()
        """),
        mediate=[os.fsencode(tmp_path / "in")],
    )
    assert trace.exit_code == 0
    assert names(trace, tmp_path)["in/secret"].mediated


def test_a_full_table_of_descriptors_is_the_callers_own_error(tmp_path):
    (tmp_path / "data").write_text("1")
    trace = watch(
        python(f"""
        import errno, os, resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
        try:
            while True: os.open("{tmp_path}/data", os.O_RDONLY)
        except OSError as error:
            assert error.errno == errno.EMFILE
            os.close(5)
            os.open("{tmp_path}/data", os.O_RDONLY)
        """),
        mediate=[os.fsencode(tmp_path / "data")],
    )
    assert trace.exit_code == 0 and names(trace, tmp_path)["data"].mediated
