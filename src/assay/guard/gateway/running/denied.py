"""Networks that an administrator denied: a file that rules read, and edges that are told.

The file has a network a line, then a comment with its end (UNIX seconds, ``-`` for none) and the reason. Where it
cannot be read it stays as it is: that denies more, never less.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Mapping

from assay.errors import AssayError, StoreError, UsageError
from assay.files import read_file, write_atomic
from assay.guard.gateway.admin.interface import Denied
from assay.guard.gateway.settings import Settings

HEAD = "# - networks that an administrator denied\n"
"""The file's first line: a list without any byte is taken for a damaged one."""

MOST = 100_000
"""Networks that can be denied by hand."""

_PUSHING = threading.Lock()
"""Held while edges are told, from reading the list on: an older list never comes after a newer one. Only the keeper's
process tells them.
"""


def read(path: str, now: float) -> dict[str, Denied]:
    """Those whose time is not over, by network. Raises `UsageError`, also where it is damaged."""
    entries = {}
    for number, line in enumerate(read_file(path, 64 << 20).decode(errors="replace").splitlines(), 1):
        address, _, comment = line.partition("#")
        until, _, why = comment.strip().partition(" ")
        try:
            end = None if until in ("", "-") else float(until)
        except ValueError:
            end = math.nan
        if end is not None and not math.isfinite(end):
            raise UsageError(
                f"{path}, line {number}: {until[:40]!r} is no time when it ends",
                hint="write UNIX seconds after the #, or - for none; until then all of it denies",
            )
        if (name := address.strip()) and (end is None or end > now):
            entries[name] = Denied(name, end, _text(why))
    return entries


def add(path: str, entry: Denied, now: float) -> None:
    """Deny one more. Raises `UsageError` where there are too many."""
    entries = read(path, now)
    if len(entries) >= MOST and entry.address not in entries:
        raise UsageError(f"{MOST:,} networks are denied by hand already", hint="use a rule with a file")
    _write(path, {**entries, entry.address: entry})


def remove(path: str, address: str, now: float) -> bool:
    """Deny one no longer; whether it was there."""
    entries = read(path, now)
    found = entries.pop(address, None) is not None
    _write(path, entries)
    return found


def expire(path: str, now: float) -> bool:
    """Take those from the file whose time is over; whether there were such."""
    with contextlib.suppress(OSError, AssayError):
        if os.path.getsize(path):
            kept = read(path, now)
            if len(kept) < len(read(path, 0.0)):
                _write(path, kept)
                return True
    return False


def push(settings: Settings, path: str, now: float) -> None:
    """Tell the edges of the gateway file. Raises `UndecidedError` naming one that did not take it over."""
    if settings.edges:
        from assay.guard.gateway.edge.push import push as pushed

        for edge in settings.edges:
            with _PUSHING:
                pushed(read(path, now), edge.kind, settings.path(edge.folder))


def _write(path: str, entries: Mapping[str, Denied]) -> None:
    lines = [HEAD] + [
        f"{one.address} # {'-' if one.until is None else f'{one.until:.3f}'} {_ascii(one.why)}\n"
        for one in entries.values()
    ]
    try:
        write_atomic(path, "".join(lines).encode("ascii"), mode=0o600)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from None


def _ascii(text: str) -> str:
    """On one line and in ASCII, as a list of networks has to be: another letter would make all of it unreadable."""
    return text.encode("unicode_escape").decode("ascii")


def _text(escaped: str) -> str:
    return escaped.encode("ascii", "replace").decode("unicode_escape", "replace")
