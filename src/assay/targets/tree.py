"""Listing the files beneath a folder: names, sizes, links; deterministic, and never beyond the boundary.

It must not read contents, follow a link that was not allowed, or leave anything out without recording it. What it
cannot list faithfully (devices, ambiguous names, unreadable folders) is an error that names the file.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from array import array
from collections.abc import Iterator
from contextlib import contextmanager

from assay.errors import ChangedError, TargetError
from assay.targets.digest.beneath import open_beneath, unreadable
from assay.targets.digest.plan import identity_of
from assay.targets.ignore import DEFAULT_IGNORES, Ignore, Selection
from assay.targets.interface import Facts, Options
from assay.targets.listing import Listing

MAX_DEPTH = 100
"""Folders inside each other. Each level costs a descriptor, and no data set or model is near it."""

MAX_FOLDER_LINKS = 1000
"""Links to folders that are followed. Without a limit, n folders that link to each other twice are 2**n files."""

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\\\\\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that make a name two things at once: control characters and line ends (terminals, line-based formats),
backslash (a folder on Windows), and those that turn the direction of text (a name that shows as another)."""

_HUB_PREFIXES = ("models--", "datasets--", "spaces--")


def check_name(component: str, full: str) -> None:
    """Raise `TargetError` unless one component of a name means the same everywhere; ``full`` is for the message."""
    try:
        component.encode()
    except UnicodeEncodeError:
        raise TargetError(
            f"the name {full!r} is not UTF-8", hint="rename the file: a statement can only hold UTF-8 names"
        ) from None
    if bad := _UNSAFE.search(component):
        raise TargetError(
            f"the name {full!r} has the character {bad.group()!r} in it, which other systems read differently",
            hint="rename the file, or leave it out with --ignore",
        )


def check_names(prefix: str, names: list[str]) -> None:
    """All names of one folder: each a plain one, and no two that a case-insensitive file system takes for one."""
    joined = "".join(names)
    plain = joined.isascii()
    if not plain or not joined.isprintable() or "\\" in joined:
        for name in names:
            check_name(name, prefix + name)
    folded = list(map(str.casefold, names)) if plain else list(map(_folded, names))
    if len(set(folded)) != len(names):
        first: dict[str, str] = {}
        for fold, name in zip(folded, names, strict=True):
            if fold in first:
                one, two = sorted((prefix + first[fold], prefix + name))
                raise TargetError(
                    f"the names {one!r} and {two!r} differ only in case or in Unicode form",
                    hint="rename one: where case does not count, one of them would replace the other",
                )
            first[fold] = name


def _folded(name: str) -> str:
    """What a file system that does not care for case or Unicode form takes the name for."""
    from unicodedata import normalize

    return normalize("NFC", normalize("NFD", name).casefold())


def hugging_face_cache(directory: str) -> str | None:
    """Root of the Hugging Face cache repository whose snapshot (or a folder in it) ``directory`` is, or None.

    A snapshot's files are links into ``blobs/`` of that root. Layout: "Understand caching" in the documentation of
    huggingface_hub: ``models--org--name/{blobs,refs,snapshots/<commit>}``.
    """
    parts = os.path.realpath(directory).split("/")
    for k in range(len(parts) - 2, 0, -1):
        if parts[k] == "snapshots" and parts[k - 1].startswith(_HUB_PREFIXES):
            root = "/".join(parts[:k])
            kinds = []
            for name in ("blobs", "refs"):
                try:
                    kinds.append(stat.S_ISDIR(os.lstat(f"{root}/{name}").st_mode))
                except OSError:
                    kinds.append(False)
            return root if all(kinds) else None
    return None


def list_tree(directory: str, options: Options, *, boundary: str | None = None) -> tuple[Listing, Facts]:
    """List the files beneath ``directory``, sorted by code point of their ``/``-joined names.

    Links are followed with ``options.follow_links`` only, and never out of ``boundary`` (default: the directory). In
    a snapshot of the Hugging Face cache, links into its ``blobs`` are followed in any case. Raises `TargetError`.
    """
    root = os.path.realpath(directory)
    cache = hugging_face_cache(root)
    inside = os.path.realpath(boundary) if boundary is not None else (cache or root)
    walk = _Walk(options, root, inside, f"{cache}/blobs" if cache else None)
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise TargetError(f"the folder {directory!r} cannot be read: {error.strerror}") from None
    try:
        walk.folder(descriptor, "", None, ())
    finally:
        os.close(descriptor)
    walk.check(directory)
    rules = walk.ignore.rules
    facts = Facts(
        ignored=tuple(sorted(walk.ignored)),
        ignore_rules=rules,
        refused=walk.refused,
        followed_links=bool(walk.paths),
        part=options.paths,
    )
    if not walk.paths:
        return Listing(root, walk.names, walk.sizes, {}, b"".join(walk.identities)), facts
    paths = walk.paths
    if inside != root:
        base = os.path.relpath(root, inside) + "/"
        paths = {i: paths[i] if i in paths else base + name for i, name in enumerate(walk.names)}
    return Listing(inside, walk.names, walk.sizes, paths, b"".join(walk.identities)), facts


class _Walk:
    """State of one walk. Columns grow in sorted order, since a folder sorts as its name with a slash."""

    def __init__(self, options: Options, root: str, boundary: str, blobs: str | None) -> None:
        self.names: list[str] = []
        self.sizes = array("Q")
        self.paths: dict[int, str] = {}
        self.identities: list[bytes] = []
        self.ignored: list[str] = []
        self.ignore = Ignore.of((DEFAULT_IGNORES if options.default_ignores else ()) + options.ignore)
        self._select = Selection.of(options.paths) if options.paths else None
        self._unmatched = set(range(len(options.paths)))
        self._root = root
        self._boundary = boundary
        self._blobs = blobs
        self._follow = options.follow_links
        self._folder_links = 0
        self._identify = options.trust_cache
        self.refused: dict[str, str] = {}
        self._lenient = options.lenient

    def check(self, directory: str) -> None:
        """After the walk: every glob must have matched, and something must be there."""
        hint = (
            f"{len(self.ignored)} ignored: {', '.join(map(repr, sorted(self.ignored)[:5]))}" if self.ignored else None
        )
        if self._select is not None and self._unmatched:
            glob = self._select.globs[min(self._unmatched)]
            raise TargetError(f"--path {glob!r} matches no file of {directory!r}", hint=hint)
        if not self.names and not self.refused:
            raise TargetError(f"the folder {directory!r} has no files", hint=hint)

    def folder(self, fd: int, prefix: str, where: str | None, above: tuple[tuple[int, int], ...]) -> None:
        """List one folder. ``where``: its path beneath the boundary, if a link led here; ``above``: its ancestors."""
        here = os.fstat(fd)
        above = (*above, (here.st_dev, here.st_ino))
        if len(above) > MAX_DEPTH:
            raise TargetError(f"{prefix!r} lies more than {MAX_DEPTH} folders deep")
        entries, links = self._scan(fd, prefix)
        entries, links = self._named(prefix, entries, links)
        resolved: dict[str, str] = {}
        for link in links:
            with self._refusing(prefix + link):
                target, folder = self._resolve(prefix, where, link)
                entries.append(link + "/" if folder else link)
                resolved[entries[-1]] = target
        entries.sort()
        for name in entries:
            if name[-1] == "/":
                path = resolved.get(name) or (where + name[:-1] if where is not None else None)
                with self._refusing(prefix + name):
                    self._enter(fd, prefix, name, path, above, linked=name in resolved)
                continue
            if self._select is not None:
                hits = self._select.hits(prefix + name)
                if not hits:
                    continue
                self._unmatched.difference_update(hits)
            status = self._status(fd, prefix, name, resolved.get(name))
            if status is None:
                continue
            if self._identify:
                self.identities.append(identity_of(status))
            if name in resolved:
                self.paths[len(self.names)] = resolved[name]
            elif where is not None:
                self.paths[len(self.names)] = where + name
            self.names.append(prefix + name)
            self.sizes.append(status.st_size)

    @contextmanager
    def _refusing(self, name: str) -> Iterator[None]:
        """Where the caller wants to know instead of fail: what is wrong with ``name`` becomes an entry of `refused`."""
        try:
            yield
        except TargetError as error:
            if not self._lenient:
                raise
            self.refused[_plain(name)] = error.message

    def _named(self, prefix: str, entries: list[str], links: list[str]) -> tuple[list[str], list[str]]:
        """Entries and links whose names mean one thing everywhere."""
        try:
            check_names(prefix, [name.rstrip("/") for name in entries] + links)
        except TargetError:
            if not self._lenient:
                raise
        else:
            return entries, links
        taken: dict[str, str] = {}
        kept: tuple[list[str], list[str]] = ([], [])
        for into, names in zip(kept, (sorted(entries), sorted(links)), strict=True):
            for name in names:
                with self._refusing(prefix + name):
                    bare = name.rstrip("/")
                    check_name(bare, prefix + name)
                    if (other := taken.setdefault(_folded(bare), bare)) != bare:
                        check_names(prefix, [other, bare])
                    into.append(name)
        return kept

    def _status(self, fd: int, prefix: str, name: str, target: str | None) -> os.stat_result | None:
        """A file's stat; ``target`` is what a link with this name leads to. None for one that is refused."""
        with self._refusing(prefix + name):
            try:
                if target is not None:
                    status = os.stat(f"{self._boundary}/{target}", follow_symlinks=False)
                else:
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except OSError as error:
                raise unreadable(prefix + name, error) from None
            if not stat.S_ISREG(status.st_mode):
                raise ChangedError(f"{prefix + name!r} changed its kind while the folder was listed")
            return status
        return None

    def _enter(
        self,
        fd: int,
        prefix: str,
        name: str,
        path: str | None,
        above: tuple[tuple[int, int], ...],
        *,
        linked: bool,
    ) -> None:
        """Go down into a folder; ``path`` is where it lies beneath the boundary, if a link led to it."""
        try:
            if linked:
                root = os.open(self._boundary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    inner = open_beneath(root, path, folder=True) if path != "." else os.dup(root)  # type: ignore[arg-type]
                finally:
                    os.close(root)
            else:
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        except OSError as error:
            raise unreadable(prefix + name, error) from None
        try:
            if linked:
                status = os.fstat(inner)
                if (status.st_dev, status.st_ino) in above:
                    raise TargetError(f"{prefix + name[:-1]!r} is a link to a folder that contains it")
                self._folder_links += 1
                if self._folder_links > MAX_FOLDER_LINKS:
                    raise TargetError(f"more than {MAX_FOLDER_LINKS} links to folders, {prefix + name[:-1]!r} is one")
            self.folder(inner, prefix + name, None if path is None else path + "/", above)
        finally:
            os.close(inner)

    def _scan(self, fd: int, prefix: str) -> tuple[list[str], list[str]]:
        """Entries that count (folders with a trailing slash), and links, in no order. No stat, no object kept."""
        names: list[str] = []
        links: list[str] = []
        select, ignore = self._select, self.ignore.matches
        try:
            with os.scandir(fd) as scan:
                for entry in scan:
                    name = entry.name
                    if entry.is_file(follow_symlinks=False):
                        if ignore(prefix, name):
                            self.ignored.append(prefix + name)
                        else:
                            names.append(name)
                    elif entry.is_dir(follow_symlinks=False):
                        name += "/"
                        if ignore(prefix, name):
                            self.ignored.append(prefix + name)
                        elif select is None or select.enters(prefix + name[:-1]):
                            names.append(name)
                    elif ignore(prefix, name):
                        self.ignored.append(prefix + name)
                    elif select is not None and not (select.hits(prefix + name) or select.enters(prefix + name)):
                        pass
                    elif entry.is_symlink():
                        links.append(name)
                    else:
                        with self._refusing(prefix + name):
                            self._refuse(fd, prefix, name)
        except OSError as error:
            raise TargetError(f"the folder {prefix or '.'!r} cannot be read: {os.strerror(error.errno or 0)}") from None
        return names, links

    def _refuse(self, fd: int, prefix: str, name: str) -> None:
        """Raise for an entry that is neither file, folder nor link."""
        try:
            mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
        except OSError as error:
            raise unreadable(prefix + name, error) from None
        for test, kind in (
            (stat.S_ISFIFO, "a FIFO"),
            (stat.S_ISSOCK, "a socket"),
            (stat.S_ISBLK, "a block device"),
            (stat.S_ISCHR, "a character device"),
        ):
            if test(mode):
                raise TargetError(
                    f"{prefix + name!r} is {kind}, which has no digest", hint="leave it out with --ignore"
                )
        raise ChangedError(f"{prefix + name!r} changed its kind while the folder was listed")

    def _resolve(self, prefix: str, where: str | None, link: str) -> tuple[str, bool]:
        """Path beneath the boundary that a link stands for, and whether it is a folder. Raises `TargetError`."""
        name = prefix + link
        at = f"{self._boundary}/{where}{link}" if where is not None else f"{self._root}/{name}"
        try:
            real = os.path.realpath(at, strict=True)
            mode = os.stat(real, follow_symlinks=False).st_mode
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise TargetError(f"{name!r} is a link that leads back to itself") from None
            raise TargetError(f"{name!r} is a link that leads nowhere ({error.strerror})") from None
        if not real.startswith(self._boundary.rstrip("/") + "/") and real != self._boundary:
            raise TargetError(
                f"{name!r} is a link out of the target, to {real!r}",
                hint="replace it by a copy of the file, or leave it out with --ignore",
            )
        if not self._follow and not (self._blobs and real.startswith(self._blobs + "/")):
            raise TargetError(
                f"{name!r} is a symbolic link",
                hint="--follow-links follows links that stay inside the target; --ignore leaves it out",
            )
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise TargetError(f"{name!r} is a link to a device, FIFO or socket, which has no digest")
        return os.path.relpath(real, self._boundary), stat.S_ISDIR(mode)


def _plain(name: str) -> str:
    """A name that may be anything, as text that a document can hold."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(char if not _UNSAFE.match(char) or char == "\\" else f"\\u{ord(char):04x}" for char in text)
