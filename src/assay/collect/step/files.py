"""From a trace to the files behind it: what went in, what came out, and what changed in between.

A file that was asked for and was not there is no material; one that the step made and removed is neither. A path is
taken as it resolves now, and the file behind it must still be the one that was there when the step first asked.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from assay.collect.step.comparing import Before, compare
from assay.collect.step.digests import Digested, digest_files
from assay.collect.step.interface import Aggregate, Files, Folder, Material, Origin, Product
from assay.collect.trace.interface import FileUse, Stat, Trace
from assay.errors import AssayError
from assay.targets.interface import Options, Progress
from assay.targets.registry import resolve

AGGREGATE = 10_000
"""More materials than this beneath one folder become one entry with a list of its own."""

NOT_DIGESTED = "nothing was digested, because the run was interrupted"

_VIRTUAL = ("/proc/", "/sys/", "/dev/")
_MEMORY = "/dev/shm/"  # noqa: S108 - files like any other

_COARSE = 1_000_000_000
"""Nanoseconds by which a file system's clock may lie behind ours."""

Lookup = Callable[[str], Sequence[Mapping[str, str]]]
"""From a contents digest (hex) to the verified evidence about it."""


class Places(Struct, frozen=True):
    """Where a step's files lie. Absolute paths, links resolved."""

    step: str
    """The step's name: whose digest cache is used."""
    directory: str
    """Where it ran."""
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    installation: Sequence[str] = ()
    """Folders of the interpreter and its packages."""
    temporary: str = ""
    """Private, and gone when the evidence is read."""

    def origin(self, path: str) -> Origin:
        """Where ``path`` belongs; the declared things win over the folders around them."""
        for origin, folders in (
            (Origin.INPUT, self.inputs),
            (Origin.OUTPUT, self.outputs),
            (Origin.INSTALLATION, self.installation),
            (Origin.CODE, (self.directory,)),
            (Origin.SYSTEM, ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc", "/opt", "/var")),
        ):
            if within(path, folders) is not None:
                return origin
        return Origin.OTHER


def within(path: str, folders: Iterable[str]) -> int | None:
    """Index of the folder that ``path`` is, or lies in; the first."""
    for i, folder in enumerate(folders):
        if folder and (path == folder or path.startswith(folder.rstrip("/") + "/")):
            return i
    return None


def examine(
    trace: Trace,
    places: Places,
    *,
    written: Sequence[str] | None = None,
    before: Before | None = None,
    attestations: Lookup = lambda _: (),
    progress: Progress | None = None,
    digest: bool = True,
) -> Files:
    """Everything that the step did to files, digested (or not, where there is no time: ``digest``). ``written`` are the
    paths that overlays over all outputs caught: then they, and not the opens, say what was written. ``before`` is what
    lay in the outputs before the step (`assay.collect.step.comparing.look`): then what lies there now says it.
    """
    sorted_out = _Sorted(trace, places, written)
    unseen = sorted_out.compare(before, places) if before is not None else []
    fresh = [path for path in sorted_out.read if places.origin(path) in (Origin.INPUT, Origin.CODE, Origin.OUTPUT)]
    known = set(fresh)
    digests: dict[str, Digested | str] = dict.fromkeys((*sorted_out.read, *sorted_out.written), NOT_DIGESTED)
    if digest:
        digests = digest_files([*fresh, *sorted_out.written], progress=progress)
        digests |= digest_files([path for path in sorted_out.read if path not in known], trusted=places.step)
    materials = [_material(path, use, digests.get(path), places) for path, use in sorted_out.read.items()]
    materials += sorted_out.gone
    products = [_product(path, digests.get(path), places) for path in sorted_out.written]
    inputs = [_folder(path, sorted_out.read, attestations) for path in places.inputs if digest]
    outputs = [_folder(path, sorted_out.written, lambda _: ()) for path in places.outputs if digest]
    folders = (*inputs, *outputs)
    kept, aggregates = aggregate(materials, places)
    warnings = [f"{item.name}: {item.changed}" for item in materials if item.changed]
    warnings += [item for item in folders if isinstance(item, str)]
    warnings += [
        f"{item.name}: {item.files - item.used:,} of {item.files:,} files were there before and are not of this run"
        for item in outputs
        if isinstance(item, Folder) and item.used < item.files
    ]
    warnings += [f"{item.name}: {digests[item.path]}" for item in products if isinstance(digests.get(item.path), str)]
    warnings = warnings if digest else [NOT_DIGESTED]
    return Files(
        kept,
        sorted(products, key=lambda item: item.path),
        [item for item in inputs if isinstance(item, Folder)],
        [item for item in outputs if isinstance(item, Folder)],
        sorted(sorted_out.deleted),
        sorted_out.ephemeral,
        sorted_out.special,
        aggregates,
        warnings,
        sorted(_name(path, Origin.OUTPUT, places) for path in unseen),
        {path: found.stat for path, found in digests.items() if isinstance(found, Digested)},
    )


class _Sorted:
    """The paths of a trace, by what became of them."""

    def __init__(self, trace: Trace, places: Places, written: Sequence[str] | None) -> None:
        self.read: dict[str, FileUse] = {}
        self.written: set[str] = set()
        self.gone: list[Material] = []
        self.deleted: list[str] = []
        self.ephemeral = self.special = 0
        self.touched: set[str] = set()
        """What was seen being written, links resolved."""
        self.arrived: set[str] = set()
        """What was seen being put where it is by a rename or a link: a folder comes with all that is in it."""
        self.started = trace.started
        for path, use in trace.files.items():
            self._one(os.fsdecode(path), use, places, exact=written is not None)
        for name in written or ():
            real = os.path.realpath(name)
            if _regular(real):
                self.written.add(real)

    def _one(self, path: str, use: FileUse, places: Places, *, exact: bool) -> None:
        tries = use.read + use.written + use.executed
        if places.temporary and within(path, (places.temporary,)) is not None:
            self.ephemeral += 1
            return
        if path.startswith(_VIRTUAL) and not path.startswith(_MEMORY):
            self.special += bool(tries)
            return
        real = os.path.realpath(path)
        if use.written or use.changed:
            self.touched.add(real)
        if use.appeared:
            self.arrived.add(real)
        now = _stat(real)
        turned = real != path and now is not None and _another(use.first, now)
        if use.denied >= tries + use.appeared + use.removed and use.denied and not turned:
            return
        if now is None or turned:
            self._absent(path, use, places)
            return
        if not stat.S_ISREG(now.mode):
            self.special += bool(tries) and not stat.S_ISDIR(now.mode)
            return
        if exact and use.first is not None and within(real, places.outputs) is not None:
            # An overlay shows a file with its own inode, but under its own device.
            use = replace(use, first=replace(use.first, device=now.device))
        if (use.read or use.executed) and use.first is not None and stat.S_ISREG(use.first.mode):
            self.read[real] = _joined(self.read.get(real), use)
        # What the step only made a link to is not its product.
        own = real == path or (not os.path.islink(path) and now.ctime >= self.started - _COARSE)
        if own and not exact and (use.written or use.appeared) and not _same(use.first, now):
            self.written.add(real)

    def compare(self, before: Before, places: Places) -> list[str]:
        """Let what lies in the outputs now, and not the opens, say what was written there; which of it nobody saw."""
        found = compare(before)
        self.written = {path for path in self.written if within(path, places.outputs) is None} | found.changed
        self.deleted = list({*self.deleted, *map(_printable, found.gone)})
        return [path for path in found.rewritten if not self._seen(path, places.outputs)]

    def _seen(self, path: str, folders: Sequence[str]) -> bool:
        """Whether the file, or a folder that it came in, was seen being put there."""
        if path in self.touched:
            return True
        while path not in self.arrived:
            if path in folders or path == "/":
                return False
            path = os.path.dirname(path)
        return True

    def _absent(self, path: str, use: FileUse, places: Places) -> None:
        """What is not there any more, or never was."""
        if use.first is None or use.exclusive:
            self.ephemeral += bool(use.written or use.appeared) and bool(use.removed)
            return
        if use.removed and not os.path.lexists(path):
            self.deleted.append(_printable(path))
        if (use.read or use.executed) and stat.S_ISREG(use.first.mode):
            why = "removed by the step after it was read" if use.removed else "gone when the step had ended"
            if os.path.lexists(path):
                why = "the link that it was read through led elsewhere when the step had ended"
            origin = places.origin(path)
            name = _name(path, origin, places)
            size = use.first.size
            self.gone.append(Material(_printable(path), name, origin, size, None, why, bool(use.executed)))


def _joined(before: FileUse | None, use: FileUse) -> FileUse:
    """Two paths that lead to one file, as one; the earlier look at it counts."""
    if before is None:
        return use
    first, second = (before, use) if before.at <= use.at else (use, before)
    return replace(
        first,
        read=first.read + second.read,
        written=first.written + second.written,
        executed=first.executed + second.executed,
        appeared=first.appeared + second.appeared,
        mediated=first.mediated and second.mediated,
    )


def _material(path: str, use: FileUse, found: Digested | str | None, places: Places) -> Material:
    origin = places.origin(path)
    name = _name(path, origin, places)
    if not isinstance(found, Digested):
        why = found or "it could not be read"
        return Material(_printable(path), name, origin, None, None, why, bool(use.executed), use.mediated)
    changed = None
    if not _same(use.first, found.stat):
        changed = "written by the step after it was read" if use.written else "modified during the run"
    return Material(
        _printable(path),
        name,
        origin,
        found.stat.size,
        found.sha256,
        changed,
        bool(use.executed),
        use.mediated,
        found.cached,
    )


def _product(path: str, found: Digested | str | None, places: Places) -> Product:
    where = within(path, places.outputs)
    name = _name(path, Origin.OUTPUT if where is not None else places.origin(path), places)
    size = found.stat.size if isinstance(found, Digested) else 0
    return Product(_printable(path), name, where, size, found.sha256 if isinstance(found, Digested) else None)


def _folder(path: str, used: Iterable[str], attestations: Lookup) -> Folder | str | None:
    """A declared input or output as it is now; None when nothing is there, or why it can't be digested as a whole."""
    if not os.path.exists(path) or (os.path.isdir(path) and not any(names for _, _, names in os.walk(path))):
        return None
    try:
        return _whole(path, used, attestations)
    except AssayError as error:  # without its hint: that names options of other commands, which a run has not
        return f"{_printable(os.path.basename(path))}: only its files have digests, not the whole: {error.message}"


def _whole(path: str, used: Iterable[str], attestations: Lookup) -> Folder:
    with resolve(f"{'dir' if os.path.isdir(path) else 'file'}:{path}", Options()) as target:
        manifest = target.manifest(blake3=False)
        contents = manifest.contents().hex()
        count = sum(within(name, (path,)) is not None for name in used)
        return Folder(path, target.name, len(manifest), manifest.size, contents, count, attestations(contents))


def aggregate(materials: Sequence[Material], places: Places) -> tuple[list[Material], list[Aggregate]]:
    """Materials one by one, and those of crowded folders as lists. A crowd of files is counted at the declared input,
    or at the two first components of the name, so that neither one folder nor thousands of small ones fill the
    evidence.
    """
    by_folder: dict[tuple[Origin, str], list[Material]] = defaultdict(list)
    for item in materials:
        by_folder[item.origin, "/".join(item.name.split("/")[:-1][:2])].append(item)
    kept: list[Material] = []
    made: list[Aggregate] = []
    for (origin, folder), members in sorted(by_folder.items()):
        sure = [item for item in members if item.sha256 is not None and item.changed is None]
        if len(sure) <= AGGREGATE:
            kept += members
            continue
        kept += [item for item in members if item.sha256 is None or item.changed is not None]
        made.append(_aggregate(folder, origin, sure))
    return sorted(kept, key=lambda item: (list(Origin).index(item.origin), item.name)), made


def _aggregate(folder: str, origin: Origin, members: Sequence[Material]) -> Aggregate:
    """The list has the form that `Manifest.contents` digests: ``<sha256> <size> <length>:<name>``."""
    import hashlib

    lines = [
        f"{item.sha256} {item.size} {len(item.name.encode())}:{item.name}\n"
        for item in sorted(members, key=lambda item: item.name)
    ]
    text = "".join(lines).encode()
    size = sum(item.size or 0 for item in members)
    return Aggregate(folder, origin, len(members), size, hashlib.sha256(text).hexdigest(), text)


def _name(path: str, origin: Origin, places: Places) -> str:
    """What the evidence calls a file: relative to what it belongs to, so that two machines say the same."""
    folders: Sequence[str] = {
        Origin.INPUT: places.inputs,
        Origin.OUTPUT: places.outputs,
        Origin.CODE: (places.directory,),
        Origin.INSTALLATION: places.installation,
    }.get(origin, ())
    where = within(path, folders)
    if where is None:
        home = os.path.expanduser("~")
        inside = within(path, (home,)) is not None and home != "/"
        return _printable("~" + path.removeprefix(home) if inside else path)
    base = folders[where].rstrip("/")
    if origin is Origin.CODE:
        return _printable(os.path.relpath(path, base))
    if path == base:
        return _printable(os.path.basename(base))
    head = {Origin.INSTALLATION: "$ENV" if where == 0 else f"$ENV{where + 1}"}.get(origin, os.path.basename(base))
    return _printable(f"{head}/{os.path.relpath(path, base)}")


def _another(first: Stat | None, now: Stat) -> bool:
    """Whether the file that was there is not the one that is there now."""
    return first is not None and (first.device, first.inode) != (now.device, now.inode)


def _same(first: Stat | None, now: Stat) -> bool:
    """The same file with the same bytes: ctime can't be set from user space."""
    return first is not None and (first.device, first.inode, first.size, first.mtime, first.ctime) == (
        now.device,
        now.inode,
        now.size,
        now.mtime,
        now.ctime,
    )


def _stat(path: str) -> Stat | None:
    try:
        now = os.stat(path)
    except OSError:
        return None
    return Stat(now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_mode)


def _regular(path: str) -> bool:
    found = _stat(path)
    return found is not None and stat.S_ISREG(found.mode)


def _printable(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
