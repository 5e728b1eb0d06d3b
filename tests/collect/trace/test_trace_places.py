"""The same without privilege, inside what Docker refuses by default, and inside another monitor."""

import ctypes
import errno
import os
import struct
import sys
import tempfile
import traceback
from pathlib import Path

import pytest

from assay.collect.trace import kernel
from assay.collect.trace.filters import assemble
from assay.collect.trace.syscalls import machine
from assay.collect.trace.tracers import TRACERS, choose
from collect.trace.steps import ENGINES, plain_user, python, watch

each = pytest.mark.parametrize("engine", ENGINES)


def in_child(function) -> None:
    """Run it in a process of its own, and fail as it fails."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def become(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)


# What moby's default profile refuses without capabilities (profiles/seccomp/default.json), as far as it matters here.
_DOCKER = ["unshare", "setns", "mount", "umount2", "pidfd_getfd", "io_uring_setup", "bpf", "perf_event_open"]


def like_docker() -> None:
    """Refuse what Docker does, as it does."""
    here = machine(os.uname().machine)
    program = assemble(here, {}, {**dict.fromkeys(_DOCKER, errno.EPERM), "clone3": errno.ENOSYS})
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.install_filter(program, 0)
    assert ctypes.CDLL(None, use_errno=True).unshare(0x10000000) == -1


def does_what_it_should(engine, folder):
    assert TRACERS[engine].available() is None
    trace = watch(
        ["sh", "-c", "echo x > out; cat out; /usr/bin/true"],  # where this Python lies, an ordinary user may not reach
        engine,
        directory=folder,
    )
    use = trace.files[os.fsencode(folder) + b"/out"]
    assert (trace.exit_code, use.written, use.read) == (0, 1, 1)
    assert trace.processes[-1].program == b"/usr/bin/true" and trace.processes[-1].arguments
    assert trace.mechanism == engine


def reachable(folder) -> int:
    """An ordinary user, who may reach and write this temporary folder: pytest closes those above it to others."""
    user = plain_user()
    os.chown(folder, user, user)
    for parent in (folder, *folder.parents):
        if parent == Path(tempfile.gettempdir()):
            break
        parent.chmod(0o755)
    return user


@each
def test_as_an_ordinary_user(engine, tmp_path):
    user = reachable(tmp_path)

    def check():
        become(user)
        does_what_it_should(engine, tmp_path)

    in_child(check)


@each
def test_inside_what_docker_allows(engine, tmp_path):
    user = reachable(tmp_path)

    def check():
        become(user)
        like_docker()
        does_what_it_should(engine, tmp_path)

    in_child(check)


def test_inside_another_monitor_the_debugger_takes_over(tmp_path):
    program = f"""
import os, sys
sys.path[:0] = {[path for path in sys.path if path]!r}
from assay.collect.trace.tracers import choose
from collect.trace.steps import python, watch
tracer, why = choose()
assert tracer.name == "ptrace", tracer.name
assert "another monitor" in why["seccomp-unotify"], why
step = python("import os; open('inner', 'w'); os.rename('inner', 'moved')")
trace = watch(step, "ptrace", directory={str(tmp_path)!r})
assert trace.exit_code == 0
assert trace.files[{os.fsencode(tmp_path / "inner")!r}].written == 1
assert trace.files[{os.fsencode(tmp_path / "moved")!r}].appeared == 1
"""
    trace = watch([sys.executable, "-c", program], directory=tmp_path)
    assert trace.exit_code == 0
    assert trace.files[os.fsencode(tmp_path / "inner")].written == 1


def test_a_step_with_a_filter_of_its_own_stays_watched(tmp_path):
    """It can only refuse itself something."""
    allow_all = struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000)
    trace = watch(
        python(f"""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        code = {allow_all!r}
        class Program(ctypes.Structure): _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
        assert libc.syscall(317, 1, 0, ctypes.byref(Program(1, code))) == 0
        open("after", "w")
        assert libc.syscall(317, 1, 8, ctypes.byref(Program(1, code))) == -1 and ctypes.get_errno() == {errno.EBUSY}
        """),
        directory=tmp_path,
    )
    assert trace.exit_code == 0 and trace.files[os.fsencode(tmp_path) + b"/after"].written == 1
    assert [call.call for call in trace.calls] == ["seccomp", "seccomp"]


def test_the_monitor_cannot_be_looked_into_by_an_ordinary_step(tmp_path):
    user = plain_user()

    def check():
        become(user)
        monitor = os.getpid()
        trace = watch(
            ["sh", "-c", f"for name in mem environ maps; do cat /proc/{monitor}/$name && exit 4; done; exit 0"]
        )
        assert trace.exit_code == 0
        assert kernel.prctl(kernel.PR_GET_DUMPABLE) == 1

    in_child(check)


def test_the_best_mechanism_is_chosen():
    tracer, why = choose()
    assert tracer.name == "seccomp-unotify" and not why
