"""The declared outputs before and after a step: what it made is then known exactly, however well it was watched.

Only names and what ``stat`` says are kept. Nothing is opened, no link is followed, and no time is believed but the
change time, which user space cannot set.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from assay.collect.trace.interface import Stat

MOST = 1_000_000
"""More files than this are not compared: they would make starting slow and the monitor large."""


class Before(Struct, frozen=True):
    """What lay in the declared outputs."""

    folders: Sequence[str]
    """Absolute, links resolved."""
    files: Mapping[str, Stat]
    """Regular files, by path."""
    without: Collection[str] = ()
    """Files that others write to, such as our own standard output."""


class Difference(Struct, frozen=True):
    """What is otherwise now."""

    changed: set[str]
    """New, or not the same unchanged file."""
    rewritten: set[str]
    """Of these, where more is new than permissions and links, as far as ``stat`` tells."""
    gone: set[str]


def look(folders: Sequence[str], *, without: Collection[str] = (), most: int = MOST) -> Before | None:
    """The outputs now; None when more than ``most`` files lie there."""
    files = _files(folders, without, most)
    return None if files is None else Before(folders, files, without)


def compare(before: Before) -> Difference:
    """The outputs now, held against what they were."""
    now = _files(before.folders, before.without, None) or {}
    changed = {path for path, stat in now.items() if before.files.get(path) != stat}
    rewritten = {path for path in changed if _bytes(before.files.get(path)) != _bytes(now[path])}
    return Difference(changed, rewritten, before.files.keys() - now.keys())


def _bytes(one: Stat | None) -> tuple[int, ...]:
    return () if one is None else (one.device, one.inode, one.size, one.mtime)


def _files(folders: Sequence[str], without: Collection[str], most: int | None) -> dict[str, Stat] | None:
    found: dict[str, Stat] = {}
    waiting = list(folders)
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False) and entry.path not in without:
                        now = entry.stat(follow_symlinks=False)
                        found[entry.path] = Stat(
                            now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_mode
                        )
        except OSError:  # gone, or closed to us: what lies in it can be no product that we digest either
            continue
        if most is not None and len(found) > most:
            return None
    return found
