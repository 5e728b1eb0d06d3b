"""Which paths a step may read, write and execute, from what it was declared to need. Pure but for looking at folders.

Rules can only allow. "Everything but the secrets" is therefore a walk along the folders that lead to secrets, allowing
their neighbours one by one: a file that is new beside a secret while the step runs is not among them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from assay.guard.sandbox.interface import Isolation, Wanted
from assay.guard.sandbox.landlock import LIST, READ, RUN, USE, WRITE, Access
from assay.guard.sandbox.sensitive import resolved, secrets

DEVICES = ("null", "zero", "full", "random", "urandom", "kfd", "nvidia*", "dxg")
"""No terminals: whoever may open ``/dev/pts`` reads what is typed into the user's other windows."""
_DEVICE_FOLDERS = ("/dev/dri", "/dev/nvidia-caps")
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - as multiprocessing uses it

_VIRTUAL = ("/dev", "/proc", "/sys")

_PROGRAMS = ("bin", "sbin", "games", "libexec", "src")
"""Of ``/usr``, in strict mode: what cannot be read cannot be run by way of the dynamic loader either."""
_USR = ("/usr", "/usr/local")
_SYSTEM = ("/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/gnu/store")

_ETC = (
    "OpenCL",
    "alternatives",
    "ca-certificates*",
    "crypto-policies",
    "debian_version",
    "fonts",
    "gai.conf",
    "group",
    "host*",
    "ld.so.*",
    "locale*",
    "localtime",
    "lsb-release",
    "machine-id",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "nvidia*",
    "os-release",
    "passwd",
    "pki",
    "protocols",
    "python3*",
    "resolv.conf",
    "services",
    "ssl",
    "timezone",
)
"""What of ``/etc`` programs read and nobody hides."""

Rule = tuple[str, Access]


def rules(wanted: Wanted, hidden: Sequence[str] | None = None) -> list[Rule]:
    """Every path that the step may use, with how. ``hidden``: what `sensitive` says, where it was asked already."""
    hidden = sensitive(wanted) if hidden is None else hidden
    made = [*_machine()]
    made += [(path, WRITE) for path in (*wanted.write, wanted.temporary) if path]
    made += [(path, Access.EXECUTE | Access.READ_FILE) for path in wanted.execute]
    made += [(path, READ if wanted.isolation is Isolation.STRICT else RUN) for path in inputs(wanted, hidden)]
    if wanted.isolation is Isolation.STRICT:
        return [*made, *_strict(wanted)]
    # Names may be listed everywhere: a folder that leads to a secret could else not be listed at all.
    return [*made, ("/", LIST), *((path, RUN) for path in around([*hidden, *_VIRTUAL]))]


def inputs(wanted: Wanted, hidden: Sequence[str] | None = None) -> list[str]:
    """The declared inputs without the secrets that lie in them: what may also be opened on the step's behalf."""
    if not wanted.read:
        return []
    hidden = sensitive(wanted) if hidden is None else hidden
    return [part for path in wanted.read for part in around(hidden, path)]


def sensitive(wanted: Wanted) -> list[str]:
    """The places of secrets here, without those that somebody declared (or something beneath them)."""
    declared = (*wanted.read, *wanted.write)
    return [path for path in secrets(wanted.hidden) if not any(beneath(other, path) for other in declared)]


def beneath(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder`` or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def around(hidden: Sequence[str], start: str = "/") -> Iterator[str]:
    """The largest folders and files that together are everything beneath ``start`` but ``hidden``. Links are left out:
    a rule is about what a link leads to, which may be a folder with a secret in it.
    """
    leading = {parent for path in hidden for parent in _above(path)}
    waiting = [] if any(beneath(start, path) for path in hidden) else [start]
    gone = set(hidden)
    while waiting:
        folder = waiting.pop()
        if folder in leading:
            base = folder.rstrip("/")
            found = [f"{base}/{name}" for name in _entries(folder)]
            waiting += [path for path in found if path not in gone and not os.path.islink(path)]
        else:
            yield folder


def _above(path: str) -> Iterator[str]:
    while path != "/":
        path = os.path.dirname(path)
        yield path


class Index:
    """Rules, to be asked about single paths."""

    def __init__(self, made: Iterable[Rule]) -> None:
        self._rights: dict[str, int] = {}
        folders: dict[str, str] = {}
        for path, rights in made:
            real = resolved(path, folders)  # a rule is about the file that its path leads to
            self._rights[real] = self._rights.get(real, 0) | int(rights)

    def allows(self, path: str, access: Access) -> bool:
        """Whether ``path`` (links resolved) may be used so. Rights of folders above it add up, as in the kernel."""
        asked = int(access)
        while True:
            asked &= ~self._rights.get(path, 0)
            if not asked or path == "/":
                return not asked
            path = os.path.dirname(path)


def _machine() -> Iterator[Rule]:
    """Devices, and what describes processes and machine. Other processes' secrets in ``/proc`` are behind the kernel's
    ptrace check, which a Landlock domain fails for everything outside of it.
    """
    for name in _entries("/dev"):
        if any(fnmatchcase(name, pattern) for pattern in DEVICES) and not os.path.isdir(f"/dev/{name}"):
            yield f"/dev/{name}", USE
    for folder in _DEVICE_FOLDERS:
        yield folder, USE | LIST
    yield SHARED_MEMORY, WRITE
    yield "/dev", LIST
    yield "/proc", READ
    yield "/sys", READ


def _strict(wanted: Wanted) -> Iterator[Rule]:
    for base in _USR:
        for name in _entries(base):
            path = f"{base}/{name}"
            if name not in _PROGRAMS and path not in _USR and not os.path.islink(path):
                yield path, READ
    for folder in (*_SYSTEM, *wanted.installation, *wanted.code):
        if folder not in _USR and os.path.realpath(folder) == folder:  # a link into /usr is judged there
            yield folder, READ
    for pattern in _ETC:
        for name in _entries("/etc"):
            if fnmatchcase(name, pattern):
                yield f"/etc/{name}", READ
    for path in (wanted.directory, *(os.path.dirname(item) for item in (*wanted.read, *wanted.code))):
        yield path, LIST


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
