"""What torch wrote before 1.6: pickles one behind another with raw tensors after them, and before 0.2 tar archives.

Both are still read by every torch. In a tar archive torch.load with ``weights_only`` was no protection before 2.6
(CVE-2025-32434), and nothing has written one for years.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.scan.models.formats.pickle_walk import plausible
from assay.collect.scan.models.formats.pickles import ENCODING, LEGACY
from assay.collect.scan.models.formats.tars import Walk, is_tar, walk
from assay.collect.scan.models.formats.telling import EXECUTION, SUPPLY, tell
from assay.collect.scan.models.formats.views import part
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier

PROGRAMS = 5
"""Magic number, protocol, system, the object, keys of the storages."""

_MAX_STORAGES = 20_000
_WIDTHS = (4, 2, 8, 1, 16)


class TorchLegacy:
    """Five pickles, then storages: each a count of 8 bytes and its elements."""

    name = "torch-legacy"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By the magic number, written as torch writes it; other spellings of it are pickles all the same."""
        return head.startswith(LEGACY)

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """Everything that the programs would do."""
        file.seek(0)
        for number in range(PROGRAMS):
            before = file.tell()
            if before >= size:
                yield tell(
                    scan, "torch/cut-off", Tier.UNREADABLE, Severity.MEDIUM,
                    f"the file ends behind {number} of {PROGRAMS} pickles",
                )  # fmt: skip
                return
            yield from scan.pickle(file, size, exact=False, encoding=ENCODING)
            if file.tell() <= before:
                return  # the engine has said why
        after = file.tell()
        if after < size and plausible(file, size, after):
            file.seek(after)
            yield tell(
                scan, "torch/sixth-pickle", Tier.UNKNOWN, Severity.HIGH,
                "a further pickle lies where the tensors should be", offset=after, atlas=SUPPLY,
            )  # fmt: skip
            yield from scan.pickle(file, size, exact=False, encoding=ENCODING)


class TorchTar:
    """``torch.save`` before 0.2: a tar archive with ``storages``, ``tensors`` and ``pickle``."""

    name = "torch-tar"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """A tar archive that begins with one of its members."""
        first = head[:100].split(b"\0")[0].removeprefix(b"./")
        return is_tar(head) and first in (b"sys_info", b"pickle", b"storages", b"tensors")

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """Everything that the programs in its members would do."""
        yield tell(
            scan, "torch/tar", Tier.UNKNOWN, Severity.HIGH,
            "it is an archive of torch 0.1: before torch 2.6 weights_only does not protect from what is in it",
            atlas=EXECUTION, mitigation="Load and save it again in a sandbox, as safetensors.",
        )  # fmt: skip
        for item in walk(file, size, scan.limits.members, Walk()):
            name = item.name.removeprefix("./")
            if name in ("storages", "tensors") and item.size:
                yield from _mixed(part(file, item.start, item.size), item.size, scan)


def _mixed(file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
    """Pickles with raw data between them: run each, and look for the next where the data would end."""
    at = 0
    for _ in range(_MAX_STORAGES):
        file.seek(at)
        yield from scan.pickle(file, size, exact=False, encoding=ENCODING)
        after = file.tell()
        if after <= at or after >= size:
            return
        following = _next(file, size, after)
        if following is None:
            yield tell(
                scan, "torch/tar-data", Tier.UNREADABLE, Severity.MEDIUM,
                f"what lies between the pickles at byte {after:,} could not be told from further pickles", offset=after,
            )  # fmt: skip
            return
        if following >= size:
            return
        at = following
    yield tell(scan, "torch/tar-data", Tier.UNREADABLE, Severity.HIGH, f"there are more than {_MAX_STORAGES:,} pickles")


def _next(file: BinaryIO, size: int, at: int) -> int | None:
    """Where the next pickle begins: right here, or behind a storage of some width, or behind a tensor's shape."""
    if plausible(file, size, at):
        return at
    file.seek(at)
    data = file.read(8)
    count = int.from_bytes(data, "little", signed=True)
    dimensions = int.from_bytes(data[:4], "little", signed=True)
    places = [at + 8 + count * width for width in _WIDTHS] if count >= 0 else []
    if 0 <= dimensions <= 64:
        places.append(at + 16 + 16 * dimensions)
    for place in places:
        if place == size or (place < size and plausible(file, size, place)):
            return place
    return None
