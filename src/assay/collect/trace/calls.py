"""One watched call with what it takes to understand it: the caller's memory, its directory, the files it means.

Whatever is read here may be changed by another thread of the caller at any moment, so each thing is read once, and
nothing is acted upon before `Call.alive` said that it was indeed read from the caller.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from msgspec import Struct, field

from assay.collect.trace import kernel
from assay.collect.trace.interface import FileUse, Stat
from assay.collect.trace.links import Turned, led
from assay.collect.trace.paths import absolute, link, plain
from assay.collect.trace.processes import Known, Processes
from assay.collect.trace.recording import Recording, stat_of

AT_FDCWD = -100
PATH_MAX = 4096
_PAGE = 4096


class GoneError(Exception):
    """The caller does not wait any more: what was read may be another process's memory."""


class World(Struct):
    """What all calls of a step share."""

    recording: Recording
    processes: Processes
    mediate: tuple[bytes, ...] = ()
    """Folders and files whose read opens the monitor does itself, links resolved, each with a slash at its end."""
    as_us: bool = False
    """Each process of the step may open all that we may."""
    monitor: int = field(default_factory=os.getpid)
    real: dict[bytes, bytes] = field(default_factory=dict)
    """What directories with ``..`` in them were resolved to."""
    root: int | None = None
    """Descriptor of the step's root where it is not ours."""
    moved: bool = False
    """Some process of the step may have a root or mounts of its own by now."""
    turned: Turned = field(default_factory=Turned)
    reads: dict[bytes, FileUse] = field(default_factory=dict)
    """Files, by the name under which a plain open for reading finds nothing new to say about them."""
    lists: dict[bytes, FileUse] = field(default_factory=dict)
    """The same for opens of directories."""

    def turn(self, path: bytes) -> None:
        """From now on this means something else, and so may working directories."""
        if not self.turned.add(path):
            self.recording.gap(
                "too-many-links", "the step turned so many links that what led through some is not known", "files"
            )
        for known in self.processes.threads.values():
            known.directory = None
        self.reads.clear()
        self.lists.clear()

    def look(self, path: bytes, thread: int, *, follow: bool = True) -> Stat | None:
        """Which bytes an absolute path of a thread's means now; None when there is nothing."""
        try:
            if self.moved:
                descriptor = self.reach(path, thread, 0 if follow else os.O_NOFOLLOW)
            elif self.root is None:
                return stat_of(os.stat(path, follow_symlinks=follow))
            else:
                flags = os.O_PATH if follow else os.O_PATH | os.O_NOFOLLOW
                descriptor = kernel.open_how(self.root, path, flags, resolve=kernel.RESOLVE_IN_ROOT)
            try:
                return stat_of(os.fstat(descriptor))
            finally:
                os.close(descriptor)
        except (OSError, ValueError):
            return None

    def reach(self, path: bytes, thread: int, flags: int = 0, resolve: int = 0) -> int:
        """A descriptor (``O_PATH``) of what an absolute path is in the thread's root. Raises `OSError`."""
        own = None
        root = self.root
        if self.moved or root is None:
            root = own = os.open(b"/proc/%d/root" % thread, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return kernel.open_how(root, path, os.O_PATH | flags, resolve=kernel.RESOLVE_IN_ROOT | resolve)
        finally:
            if own is not None:
                os.close(own)


class Call(Struct):
    """One call that waits."""

    id: int
    thread: int
    known: Known
    name: str
    arguments: tuple[int, ...]
    world: World
    alive: Callable[[], bool]

    @property
    def index(self) -> int:
        """The program that makes it."""
        return self.world.processes.index(self.known)

    def memory(self, address: int, length: int) -> bytes:
        """The caller's memory; short at an unmapped page, empty (and a gap) where it may not be read."""
        try:
            return kernel.read_memory(self.thread, address, length)
        except OSError:
            self.world.recording.gap(
                "unreadable-memory",
                "a program of the step hides its memory (it is not dumpable): the arguments of its calls are unknown",
            )
            return b""

    def text(self, address: int, limit: int = PATH_MAX) -> bytes:
        """The bytes up to the first NUL, at most ``limit``."""
        short = kernel.read_text(self.thread, address)
        if short is not None:
            return short[:limit]
        data = b""
        while len(data) < limit:
            # Never across a page that may be missing: the kernel reads whole strings only where they lie.
            size = min(limit - len(data), _PAGE - (address + len(data)) % _PAGE)
            more = self.memory(address + len(data), size)
            before, end, _ = more.partition(b"\0")
            data += before
            if end or len(more) < size:
                break
        return data

    def number(self, argument: int) -> int:
        """An argument of C's type ``int``."""
        value = self.arguments[argument] & 0xFFFFFFFF
        return value - (1 << 32) if value >> 31 else value

    def path(self, directory: int | None, argument: int | None) -> bytes:
        """Absolute path that two arguments mean (a descriptor, a string); empty when it cannot be told."""
        raw = b"" if argument is None else self.text(self.arguments[argument])
        return self.absolute(AT_FDCWD if directory is None else self.number(directory), raw)

    def absolute(self, descriptor: int, raw: bytes) -> bytes:
        """``raw`` as the caller means it, from a directory's descriptor or from its working directory."""
        if raw[:1] != b"/":
            if descriptor == AT_FDCWD:
                base = self.world.processes.directory(self.known, self.thread)
            else:
                base = link(self.thread, f"fd/{descriptor}") or b""
            if base[:1] != b"/":
                return b""
            raw = base.rstrip(b"/") + b"/" + raw if raw else base
        if plain(raw):
            return raw
        return absolute(raw, self.known.pid, self.thread, self.world.real, self._resolved)

    def _resolved(self, path: bytes) -> bytes:
        """Without links, as the caller sees them: in an overlay it can make some that lie nowhere else."""
        if self.world.root is not None or self.world.moved:
            try:
                handle = self.reach(path)
            except (OSError, ValueError):
                return os.path.realpath(path)
            try:
                return os.readlink(b"/proc/self/fd/%d" % handle)
            finally:
                os.close(handle)
        return os.path.realpath(path)

    def look(self, path: bytes, *, follow: bool = True) -> Stat | None:
        """Which bytes an absolute path of the caller's means now; None when there is nothing."""
        return self.world.look(path, self.thread, follow=follow) if path else None

    def led(self, path: bytes, *, follow: bool = True) -> bytes:
        """An absolute path of the caller's; where it goes by a link that the step turned, what that leads to now."""
        if not path or not self.world.turned.on(path):
            return path
        return led(path, self.reach, follow=follow)

    def reach(self, path: bytes, flags: int = 0, resolve: int = 0) -> int:
        """A descriptor (``O_PATH``) of what an absolute path is in the caller's root. Raises `OSError`."""
        return self.world.reach(path, self.thread, flags, resolve)
