"""Beside ``strace -f``, file by file, on a step that goes every way there is to a file."""

import os
import re
import shutil
import subprocess
import sys
from stat import S_ISREG

import pytest

from collect.trace.steps import compiled, watch

CALLS = (
    "open,openat,openat2,creat,execve,execveat,truncate,rename,renameat,renameat2,link,linkat,symlink,symlinkat,"
    "unlink,unlinkat,rmdir,mkdir,mkdirat,mknod,mknodat"
)
STEP = """
import ctypes, mmap, multiprocessing, os, subprocess, sys, threading, time
import numpy, pandas

folder = sys.argv[1]
os.chdir(folder)
threads = [threading.Thread(target=open, args=(f"thread-{number}", "w")) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
if os.fork() == 0:
    open("forked").read()
    os._exit(0)
os.wait()
with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map(len, ["a", "b"])
subprocess.run([sys.argv[2]], check=True)
shell = "cat < shell-in > shell-out; mkdir made made/deep; mv shell-out made/moved; rm shell-in"
subprocess.run(["sh", "-c", shell], check=True)
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
assert libc.fopen(b"c-file", b"r") and libc.fopen(b"c-new", b"w")
assert pandas.read_csv("table.csv").shape == (1, 2)
numpy.save("array.npy", numpy.arange(3))
assert numpy.load("array.npy", mmap_mode="r").sum() == 3
with open("mapped", "r+b") as file: mmap.mmap(file.fileno(), 0)[0]
os.rename("first", "second"); os.link("second", "hard"); os.symlink("second", "soft"); open("soft").read()
os.truncate("mapped", 2); os.unlink("hard"); os.mkfifo("fifo"); os.rmdir("empty")
where = os.open("made", os.O_RDONLY | os.O_DIRECTORY)
os.open("inner", os.O_CREAT | os.O_WRONLY, dir_fd=where); os.rename("inner", "outer", src_dir_fd=where)
open("../" + os.path.basename(folder) + "/./second").read()
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    time.sleep(0.3)
    open("daemon", "w"); os.mkdir("daemon-folder")
    os._exit(0)
os.wait()
"""
STATIC = """
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
  return open("static-in", O_RDONLY) < 0 || creat("static-out", 0600) < 0 || rename("static-out", "static-moved");
}
"""


def prepare(folder):
    folder.mkdir()
    for name in ("forked", "shell-in", "c-file", "first", "static-in"):
        (folder / name).write_text("text")
    (folder / "table.csv").write_text("a,b\n1,2\n")
    (folder / "mapped").write_text("mapped")
    (folder / "empty").mkdir()


def of_strace(text: str, folder: str) -> set[str]:
    """Absolute paths that successful calls named. ``-y`` adds to each descriptor, and to AT_FDCWD, where it points."""
    found = set()
    parts: dict[str, str] = {}
    for line in text.splitlines():
        process, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.endswith("<unfinished ...>"):
            parts[process] = rest[: -len("<unfinished ...>")]
            continue
        if again := re.match(r"<\.\.\. \w+ resumed>(.*)", rest):
            rest = parts.pop(process) + again[1]
        if not re.search(r"\) += (0|[1-9]\d*)(<.*>)?$", rest):
            continue
        call = rest.partition("(")[0]
        given = rest[len(call) + 1 :]
        if call in ("symlink", "symlinkat"):
            given = given.partition(", ")[2]
        if call in ("execve",):
            given = given.partition(", ")[0]
        base = folder
        for descriptor, path in re.findall(r"(?:AT_FDCWD|\d+)<([^>]*)>|\"([^\"]*)\"", given):
            if descriptor:
                base = descriptor
            elif path:
                found.add(os.path.normpath(os.path.join(base, path)))
    return found


@pytest.mark.parametrize("engine", ["seccomp-unotify", "ptrace"])
def test_the_same_files_as_strace(engine, tmp_path):
    assert shutil.which("strace"), "this test needs strace"
    static = compiled(tmp_path, STATIC, "-static")
    folder = tmp_path / "work"
    rest = ["-c", STEP, str(folder), static]
    command = [sys.executable, "-B", *rest]
    variables = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    prepare(folder)
    # All modules are compiled first: one that another process compiles between the two runs would be another file.
    # Its output ends with the last of its processes.
    subprocess.run([sys.executable, *rest], env=variables, cwd=tmp_path, check=True, capture_output=True)
    shutil.rmtree(folder)
    prepare(folder)
    log = tmp_path / "log"
    subprocess.run(
        ["strace", "-f", "--seccomp-bpf", "-y", "-qq", "-s", "4096", "-e", f"trace={CALLS}", "-o", log, *command],
        env=variables,
        cwd=tmp_path,
        check=True,
    )
    expected = of_strace(log.read_text(), str(folder))
    shutil.rmtree(folder)
    prepare(folder)
    trace = watch(command, engine, directory=tmp_path, environment=variables)
    assert trace.exit_code == 0

    def same(paths):
        """Without what differs from run to run: numbers of processes, and names that are drawn by lot."""
        kept = {re.sub(r"/proc/\d+", "/proc/N", path) for path in paths}
        return {
            path for path in kept if not re.search(r"/(pymp-\w+|sem\.\w+|tmp\w{8})(/|$)|^/dev/(shm|null)|^/proc", path)
        }

    existing = {os.fsdecode(path) for path in trace.files}
    assert same(expected) - same(existing) == set()
    # What was asked for in vain is in our list only; nothing else is.
    extra = same(existing) - same(expected)
    assert {path for path in extra if (first := trace.files[os.fsencode(path)].first) and S_ISREG(first.mode)} == set()
    inside = {path for path in same(existing) if path.startswith(str(folder) + "/")}
    assert inside == {path for path in same(expected) if path.startswith(str(folder) + "/")}
    assert len(inside) > 25 and len(expected) > 200
