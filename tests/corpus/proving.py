"""Shows that every attack is one: the real loader loads it in a forked process, and what it does is watched.

A sample is proved by the file that its payload makes, by an audit event that carries the payload's word, by a change to
the interpreter's own tables, or (denial of service) by the limit that ended the process. Runs attacks: each child has
an empty folder, limits, no standard streams, and may not connect to anything.

    python -m corpus.proving FOLDER     (with ``tests`` on the path; rewrites the manifest)
"""

from __future__ import annotations

import atexit
import copyreg
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from corpus.loaders import HEAVY, LOADERS, warm
from corpus.sample import CANARY

ALWAYS = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "subprocess.Popen",
    "pty.spawn",
    "urllib.Request",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
)
IGNORED = ("pickle.find_class", "object.__getattr__")
SECONDS = 10


def _watch(report: int) -> None:
    """Report the first event that is the payload's doing; refuse the network."""
    told = False

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal told
        if not told and event not in IGNORED and (event in ALWAYS or CANARY in repr(arguments)[:20_000]):
            told = True
            with suppress(OSError):
                os.write(report, f"event {event}".encode())
        if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
            raise PermissionError("no network for samples")

    sys.addaudithook(hook)


def _state() -> bool:
    """The payload's word is in a table of the interpreter."""
    tables: list[object] = [
        sys.path,
        sys.modules,
        os.environ,
        copyreg.dispatch_table,
        *(vars(sys.modules[name]) for name in ("builtins", "os", "posixpath")),
    ]
    return any(CANARY in table for table in tables)  # type: ignore[operator]


def _child(loader: str, path: str, report: int) -> None:
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.environ["PATH"] = "/usr/bin:/bin"
    os.environ["BROWSER"] = "true %s"
    _watch(report)
    try:
        LOADERS[loader](path)
        if not os.path.exists(CANARY):
            atexit._run_exitfuncs()
            time.sleep(0.02)
        ending = b"\nloaded"
    except MemoryError:
        ending = b"\nlimit"
    except BaseException as error:
        ending = ("\nerror " + f"{type(error).__name__}: {error}".replace("\n", " "))[:2000].encode(errors="replace")
    os.write(report, (b"\nstate" if _state() else b"") + ending)


def prove(loader: str, path: Path) -> tuple[str, str]:
    """What the loader was seen doing with the file (empty for nothing), and how the load ended."""
    folder = tempfile.mkdtemp(prefix="assay-corpus-")
    shutil.copytree(path.parent, os.path.join(folder, "sample"))
    work = os.path.join(folder, "work")
    os.mkdir(work)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.close(read)
            os.chdir(work)
            _child(loader, os.path.join(folder, "sample", path.name), write)
        finally:
            os._exit(0)
    os.close(write)
    _, status = os.waitpid(pid, 0)
    with suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    os.set_blocking(read, False)  # a grandchild may still hold the other end
    try:
        told = os.read(read, 4096).decode(errors="replace").split("\n")
    except BlockingIOError:
        told = [""]
    os.close(read)
    made = any(name.startswith(CANARY) for name in os.listdir(work))
    shutil.rmtree(folder, ignore_errors=True)
    proof = "file" if made else next((part for part in told if part.startswith(("event", "state"))), "")
    ending = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else told[-1]
    return proof, ending


def needs_libraries(row: dict[str, str], folder: Path) -> bool:
    """Whether to load it in a process that has the heavy libraries; a fork of one that has not is ten times cheaper."""
    if not row["loader"].startswith(("pickle", "python", "notebook", "archive", "decompressed", "executable", "zip")):
        return True
    data = (folder / row["main"]).read_bytes()
    return any(module.split(".")[0].encode() in data for module in HEAVY)


def prove_all(folder: Path) -> dict[str, str]:
    """Prove every sample that has a loader, and write it to the manifest. Returns the endings of those unproved."""
    manifest = json.loads((folder / "manifest.json").read_text())
    unproved, warmed = {}, False
    provable = [row for row in manifest["samples"] if row["loader"]]
    for row in sorted(provable, key=lambda row: needs_libraries(row, folder)):
        if not warmed and needs_libraries(row, folder):
            warm()
            warmed = True
        proof, ending = prove(row["loader"], folder / row["main"])
        if row["label"] != "malicious":
            proof = "loaded" if ending == "loaded" and not proof else ""
        elif row["harm"] == "denial" and (ending == "limit" or ending.startswith("signal")):
            proof = "limit"
        elif not proof and CANARY in ending:
            proof = "asked"  # an error about the payload's file or module
        row["verified"], row["proof"] = bool(proof), proof
        if not proof:
            unproved[row["path"]] = ending
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return unproved


def main() -> None:
    """Prove a corpus and say what could not be."""
    unproved = prove_all(Path(sys.argv[1]).resolve())
    for path, ending in unproved.items():
        print(f"{path}: {ending}")
    sys.exit(1 if unproved else 0)


if __name__ == "__main__":
    main()
