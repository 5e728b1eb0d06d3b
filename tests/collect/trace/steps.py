"""Steps for the tests: small programs that do one thing, run under one of the mechanisms."""

import os
import shutil
import subprocess
import sys
import textwrap

from assay.collect.trace.interface import Launch
from assay.collect.trace.tracers import TRACERS

ENGINES = ("seccomp-unotify", "ptrace")


def python(code: str) -> list[str]:
    """A Python program that loads as little as it can."""
    return [sys.executable, "-I", "-S", "-c", textwrap.dedent(code)]


def watch(command, engine="seccomp-unotify", arbiter=None, directory="/", **more):
    """The trace of a command."""
    variables = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **more.pop("environment", {})}
    more.setdefault("hook", False)
    more.setdefault("seconds", 600)  # it only ends a test that has failed anyway
    return TRACERS[engine].run(Launch(list(command), variables, str(directory), **more), arbiter)


def compiled(folder, source: str, *flags: str) -> str:
    """A program in C."""
    assert shutil.which("gcc"), "these tests need gcc"
    code = folder / "program.c"
    code.write_text(textwrap.dedent(source))
    program = folder / "program"
    subprocess.run(["gcc", "-O1", *flags, "-o", program, code], check=True)
    return str(program)


def names(trace, folder) -> dict[str, object]:
    """What lies in a folder of all that was seen: relative path → use."""
    start = os.fsencode(folder) + b"/"
    return {os.fsdecode(path[len(start) :]): use for path, use in trace.files.items() if path.startswith(start)}


def plain_user() -> int:
    """The number of a user that nobody is."""
    import pwd

    taken = {entry.pw_uid for entry in pwd.getpwall()}
    return next(number for number in range(54321, 60000) if number not in taken)
