"""How the members of a zip archive lie in the file: members that overlap, gaps, and members that nobody lists.

Honest archives have their members one behind another. What lies between them is searched within limits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from assay.collect.scan.models.formats.zip_entries import LOCAL, Archive, Entry, local
from assay.collect.scan.models.interface import Severity, Tier
from assay.errors import DocumentError

_MAX_DESCRIPTOR = 24
_MAX_VIEWS = 6
_METHODS = frozenset((0, 8, 9, 12, 14, 93, 95, 98, 99))
_MAX_GAP = 64 << 20
_MAX_GAPS = 1000


def check_layout(file: BinaryIO, size: int, archive: Archive, limit: int) -> None:
    """Find members that overlap, and members in the gaps that no directory names."""
    spans = sorted({(entry.header, entry.end) for entry in archive.entries})
    reach = 0
    shared = max(Counter(entry.header for entry in archive.entries).values(), default=0)
    if shared > _MAX_VIEWS:
        archive.complain("overlap", Tier.MALICIOUS, Severity.HIGH, f"{shared:,} members share their data, as in bombs")
    for header, end in spans:
        if header < reach:
            archive.complain(
                "overlap", Tier.MALICIOUS, Severity.HIGH, f"members overlap at byte {header:,}, as those of bombs do"
            )
            break
        if header - reach > _MAX_DESCRIPTOR:
            archive.gaps.append((reach, header))
        reach = max(reach, end)
    if archive.directory - reach > _MAX_DESCRIPTOR:
        archive.gaps.append((reach, archive.directory))
    looked, found = 0, set()
    for begin, end in archive.gaps[:_MAX_GAPS]:
        looked += end - begin
        if looked > _MAX_GAP:
            archive.complain(
                "gaps", Tier.UNREADABLE, Severity.MEDIUM, "more bytes lie between its members than were searched"
            )
            return
        for hidden in _hidden(file, size, begin, end):
            found.add((begin, end))
            if len(archive.entries) >= limit:
                raise DocumentError(f"there are more than {limit:,} members")
            archive.entries.append(hidden)
            archive.complain("hidden", Tier.UNKNOWN, Severity.HIGH, "its directory does not name this member", hidden)
    archive.gaps = [gap for gap in archive.gaps if gap not in found or gap[0] == 0]


def _hidden(file: BinaryIO, size: int, begin: int, end: int) -> Iterator[Entry]:
    """Members in a stretch that no directory names."""
    file.seek(begin)
    data = file.read(end - begin)
    at = 0
    while (at := data.find(LOCAL, at)) >= 0:
        entry = local(file, size, begin + at)
        at += 4
        if entry is None or entry.method not in _METHODS:
            continue
        if entry.packed == 0 or entry.end > size:
            entry = replace(entry, packed=max(0, end - entry.start))  # its size is in a descriptor, somewhere
        yield entry
        at = max(at, entry.end - begin)
