"""From a trace to facts: what a run did to files, which programs and modules it used, and what it cost.

What is dangerous is recognised by the path to the letter, before any pattern is made of it. Left out is only what says
nothing (the system's own files, the private temporary folder) and what was proved to be passing: made with ``O_EXCL``
and removed in the same run.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator

from assay.collect.behaviour.interface import DIGESTED, Fact, Facts, Kind, Places
from assay.collect.behaviour.naming import SYSTEM, Names, bytecode, cache, crowd, pattern, place, printable
from assay.collect.behaviour.persisting import persistent
from assay.collect.behaviour.reaching import reached
from assay.collect.trace.hooks import FOLDER
from assay.collect.trace.interface import FileUse, Trace

NUMBERS = {
    "opens": 50.0,
    "programs": 2.0,
    "files_read": 20.0,
    "listed": 10.0,
    "sent_bytes": 65536.0,
    "written_bytes": float(1 << 20),
    "cpu_seconds": 2.0,
    "memory_bytes": float(64 << 20),
    "gpu_seconds": 5.0,
}
"""Numbers of a run, each with the difference that never means anything by itself."""

NOTABLE = frozenset(
    ("asyncio", "code", "codeop", "ctypes", "ftplib", "http", "imaplib", "marshal", "poplib", "pty", "runpy", "smtplib",
     "socket", "socketserver", "ssl", "subprocess", "telnetlib", "urllib", "webbrowser", "xmlrpc")
)  # fmt: skip
"""Modules of the standard library that reach outside of it; of the others nobody learns anything."""

_OWN = f"{FOLDER}/"
"""Our own audit hook, which is no part of the step."""

_PYTHON = re.compile(r"python(?:\d(?:\.\d+)?t?)?")
_LIBRARY = re.compile(r"\.so(?:\.[\d.]+)?$")
_SOURCE = re.compile(r"\.(?:py|pyx|pth|sh|bash|r|jl|ipynb|pl|rb|js)$", re.I)
_PACKAGES = re.compile(r"/(?:site|dist)-packages/([^/]+)")
_SUFFIX = re.compile(r"\.(?:py|pyc|cpython-[^/]*|abi3\.so|so|pth|egg-link)$")
_SECRETS_OF_PROCESSES = re.compile(r"/proc/[^/]+/(?:task/\d+/)?(?:environ|mem)$|/proc/kcore$|/dev/(?:mem|kmem|port)$")
_DISTURBING = re.compile(r"(?:posix|nt|os|subprocess|pty|socket|shutil|importlib|runpy|ctypes|builtins|_io|io)(?:\.|$)")
_HARMLESS_BUILTINS = frozenset(
    f"builtins.{name}" for name in ("set", "frozenset", "list", "dict", "tuple", "int", "float", "complex", "bytearray",
                                    "slice", "range", "object", "str", "bytes", "bool", "type")
)  # fmt: skip


def facts(trace: Trace, places: Places) -> Facts:
    """The facts of one run. Reads nothing but the links in its paths, as they are now."""
    return _Reader(trace, places).result()


class _Reader:
    """Goes through a trace once."""

    def __init__(self, trace: Trace, places: Places) -> None:
        self._trace, self._places, self._names = trace, places, Names(places)
        self._facts: set[Fact] = set()
        self._came: set[Fact] = set()  # those that came to something at least once
        self._digests: dict[Fact, str] = {}
        self._examples: dict[Fact, str] = {}
        self._sources: set[str] = set()
        self._secrets = frozenset(places.sensitive)
        self._below = tuple(f"{folder.rstrip('/')}/" for folder in places.sensitive)
        self._software = tuple(self._interpreters())
        self._listed = 0

    def result(self) -> Facts:
        """Everything."""
        for use in self._trace.files.values():
            if use.read and use.first is not None:
                self._sources.add(self._names.real(os.fsdecode(use.path)))
        for use in self._trace.files.values():
            self._file(os.fsdecode(use.path), use)
        for process in self._trace.processes:
            self._program(os.fsdecode(process.program))
        for kind, text, happened in reached(self._trace, self._names):
            self._add(kind, text, happened=happened)
        self._hooks()
        tried = frozenset(self._facts - self._came)
        hooked = bool(self._trace.modules)
        return Facts(frozenset(self._facts), self._numbers(), self._digests, tried, self._examples, hooked)

    def _interpreters(self) -> Iterator[str]:
        """The packages of Pythons that ran beside the installation, behind a shim for example. That one of them ran is
        a fact of its own, so nothing hides behind this. In the step's own folders nothing is software.
        """
        for process in self._trace.processes:
            real = self._names.real(os.fsdecode(process.program))
            folder, _, base = real.rpartition("/bin/")
            if _PYTHON.fullmatch(base) and place(self._names.symbolic(real)) in ("", "~"):
                yield f"{folder}/lib/"

    def _add(self, kind: Kind, text: str, path: str | None = None, *, happened: bool = True) -> None:
        fact = Fact(kind, text)
        self._facts.add(fact)
        if happened:
            self._came.add(fact)
        if path is not None and fact not in self._examples:
            self._examples[fact] = printable(path)
            if kind in DIGESTED and (digest := self._places.digest(path)) is not None:
                self._digests[fact] = digest

    def _file(self, path: str, use: FileUse) -> None:
        if path in self._places.own or path.startswith(_OWN):
            return
        real = self._names.real(path)
        name = self._names.symbolic(real)
        happened = not use.denied and (use.first is not None or bool(use.written or use.appeared))
        touched = bool(use.read or use.written or use.executed or use.removed or use.appeared or use.listed)
        touched = touched or bool(use.changed or use.denied)
        changed = bool(use.written or use.appeared or use.changed or use.removed)
        if self._secret(path, real):
            if touched:
                sought = not happened and not use.denied
                self._add(Kind.SENSITIVE, f"{name} (absent)" if sought else name, real, happened=happened)
            return
        if changed and (persistent(path, self._places.home) or persistent(real, self._places.home)):
            self._add(Kind.PERSISTENCE, name, real, happened=happened)
            return
        if path.startswith(("/proc/", "/sys/")) or self._device(path):
            return
        if not happened and not use.denied:
            return  # it looked for something that is not there, as every search path does
        if use.executed and not real.startswith("/proc/"):
            self._program(path)
        if use.read:
            self._reading(real, name, happened=happened)
        if use.listed and not changed:
            self._listing(name)
        if use.removed and use.first is not None and not use.exclusive:
            self._removal(name, real, happened=happened)
        elif changed:
            self._writing(name, real, use, happened=happened)

    def _secret(self, path: str, real: str) -> bool:
        if _SECRETS_OF_PROCESSES.search(path):
            return True
        return (
            path in self._secrets
            or path.startswith(self._below)
            or real in self._secrets
            or (real.startswith(self._below))
        )

    def _device(self, path: str) -> bool:
        return path.startswith("/dev/") and not path.startswith("/dev/shm/")  # noqa: S108 - a name in a trace

    def _reading(self, real: str, name: str, *, happened: bool) -> None:
        where = place(name)
        source = bytecode(real)
        if source is not None:
            real, name = source, self._names.symbolic(source)
        if where == "$ENV" or real.startswith((*SYSTEM, *self._software)):
            if match := _PACKAGES.search(real):
                self._module(match[1])
            return
        if _LIBRARY.search(real):
            self._add(Kind.LIBRARY, pattern_of_passing(name) if where == "$TMPDIR" else name, real, happened=happened)
        elif (held := cache(name)) is not None:
            self._add(Kind.CACHE, held, real, happened=happened)
        elif where == "$CODE" and (source is not None or _SOURCE.search(name)):
            self._add(Kind.CODE, name, real, happened=happened)
        elif real.startswith("/etc/"):
            self._add(Kind.CONFIGURATION, "/".join(name.split("/")[:3]), real, happened=happened)
        elif where in ("$IN", "$CODE", "$OUT"):
            self._add(Kind.READ, pattern(name), real, happened=happened)
        elif where != "$TMPDIR" and not real.startswith("/dev/shm/"):  # noqa: S108
            self._add(Kind.READ, name, real, happened=happened)

    def _module(self, entry: str) -> None:
        name = _SUFFIX.sub("", entry).removesuffix("-nspkg")
        if name and name != "__pycache__" and not name.endswith((".dist-info", ".egg-info")):
            self._add(Kind.MODULE, printable(name))

    def _listing(self, name: str) -> None:
        self._listed += 1
        where = place(name)
        if (
            name == FOLDER
            or where in ("$ENV", "$TMPDIR")
            or f"{name}/".startswith((*SYSTEM, *map(self._names.symbolic, self._software)))
            or cache(f"{name}/x") is not None
        ):
            return
        self._add(Kind.LIST, pattern(name) if where in ("$IN", "$CODE", "$OUT") else name)

    def _removal(self, name: str, real: str, *, happened: bool) -> None:
        where = place(name)
        if where == "$TMPDIR" or cache(name) is not None or real.startswith("/dev/shm/"):  # noqa: S108
            return
        text = crowd(name) if where == "$OUT" else pattern(name) if where == "$CODE" else name
        self._add(Kind.DELETION, text, real, happened=happened)

    def _writing(self, name: str, real: str, use: FileUse, *, happened: bool) -> None:
        where = place(name)
        if where == "$TMPDIR":
            return
        if where == "$OUT":
            if not use.removed:
                self._add(Kind.OUTPUT, crowd(name), real, happened=happened)
            return
        source = bytecode(real)
        if (source is not None and source in self._sources) or name.endswith("/__pycache__"):
            return  # the interpreter keeps what it has just compiled
        if (held := cache(name)) is not None:
            self._add(Kind.CACHE, held, real, happened=happened)
            return
        text = name
        if real.startswith("/dev/shm/"):  # noqa: S108 - memory that processes share; nothing in it outlives the machine
            text = "/dev/shm/*"  # noqa: S108
        elif use.exclusive and use.removed:
            text = f"{name.rpartition('/')[0]}/<passing>"
        elif where in ("$IN", "$CODE"):
            text = pattern(name)
        self._add(Kind.WRITE, text, real, happened=happened)

    def _program(self, path: str) -> None:
        real = self._names.real(path)
        if self._names.symbolic(real).startswith("$TMPDIR"):
            self._add(Kind.PROGRAM, pattern_of_passing(self._names.symbolic(real)), real)
            return
        self._add(Kind.PROGRAM, self._names.symbolic(real), real)

    def _hooks(self) -> None:
        for module in self._trace.modules:
            top = module.partition(".")[0]
            if top in NOTABLE or not (top in sys.stdlib_module_names or top in ("__main__", "__mp_main__", "")):
                self._module(top)
        for word in self._trace.hooks.get("pickle.find_class", ()):
            for text in _unpickled(word):
                self._add(Kind.PICKLE, printable(text))

    def _numbers(self) -> dict[str, float]:
        trace, usage = self._trace, self._trace.usage
        real = [use for use in trace.files.values() if use.first is not None or use.written]
        sent = sum(contact.sent or 0 for contact in trace.contacts)
        made: dict[str, float | None] = {
            "opens": float(sum(use.read + use.written for use in real)),
            "programs": float(len(trace.processes)),
            "files_read": float(sum(bool(use.read) and _regular(use) for use in real)),
            "listed": float(self._listed),
            "sent_bytes": float(sent),
            "written_bytes": None if usage.written_bytes is None else float(usage.written_bytes),
            "cpu_seconds": round(usage.user + usage.system, 3),
            "memory_bytes": float(usage.memory),
            "gpu_seconds": usage.gpu_seconds,
        }
        return {name: value for name, value in made.items() if value is not None}


def pattern_of_passing(name: str) -> str:
    """The name of something in the private temporary folder, where every name is random: its ending only."""
    return f"$TMPDIR/*{os.path.splitext(name)[1]}"


def _unpickled(word: str) -> Iterator[str]:
    """What to remember of a name that was unpickled: the package, or all of the name where it could do harm."""
    if _DISTURBING.match(word) and word not in _HARMLESS_BUILTINS:
        yield word
    elif word:
        yield word.partition(".")[0]


def _regular(use: FileUse) -> bool:
    return use.first is None or stat.S_ISREG(use.first.mode)
