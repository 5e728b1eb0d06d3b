"""What the tests of containers share: a few rules, archives that are written byte by byte, and a way to scan bytes."""

from __future__ import annotations

import io
import resource
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from assay.collect.scan.models.formats.scanning import scan_stream
from assay.collect.scan.models.interface import Finding, Limits, Tier
from assay.collect.scan.models.pickle.engine import run_pickle

ATTACK = b"cposix\nsystem\n(S'true'\ntR."
"""Protocol 0; calls ``posix.system('true')``."""

HONEST = b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94]\x94(K\x01K\x02es."
"""Protocol 4; ``{'a': [1, 2]}``."""

_GOOD = (
    "collections",
    "numpy",
    "torch",
    "joblib",
    "_codecs",
    "sklearn",
    "copyreg",
    "builtins",
    "__builtin__",
    "__torch__",
)
_BAD = ("os", "posix", "nt", "subprocess", "operator", "runpy", "sys")
_BAD_BUILTINS = ("eval", "exec", "getattr", "__import__", "open", "compile")


class FewRules:
    """Rules for these tests: a handful of packages is good, a handful bad."""

    digest = "00" * 32

    def judge(self, module: str, name: str, use: str) -> tuple[Tier, str]:
        root = module.split(".")[0]
        if root in _BAD or (root in ("builtins", "__builtin__") and name in _BAD_BUILTINS):
            return Tier.MALICIOUS, "test/bad"
        return (Tier.SAFE, "test/good") if root in _GOOD else (Tier.UNKNOWN, "test/unknown")


@dataclass(frozen=True)
class Scanned:
    """What came of a scan."""

    format: str | None
    findings: tuple[Finding, ...]

    @property
    def tier(self) -> Tier:
        tiers = [finding.tier for finding in self.findings] + [Tier.SAFE if self.format else Tier.NONE]
        return max(tiers, key=lambda tier: tier.rank)

    @property
    def rules(self) -> set[str]:
        return {finding.rule for finding in self.findings}

    def calls(self) -> str:
        return " ".join(finding.call or "" for finding in self.findings)


@contextmanager
def bounded() -> Iterator[None]:
    """As much memory as a worker of the scanner has beside what it began with: five bytes of a pickle (LONG_BINPUT) ask
    for 64 GB.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + (1 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def scanned(data: bytes, path: str = "model.bin", **limits: int) -> Scanned:
    """Scan bytes as a file of that name; no scanner may fail in a way that it does not name itself."""
    with bounded():
        format, findings = scan_stream(io.BytesIO(data), len(data), path, FewRules(), Limits(**limits), run_pickle)
    result = Scanned(format, tuple(findings))
    assert "scan/failed" not in result.rules, result
    return result


@dataclass
class Member:
    """A zip member; whatever is None in the local header is as in the directory."""

    name: bytes
    data: bytes
    method: int = 0
    flags: int = 0
    packed: bytes | None = None
    crc: int | None = None
    size: int | None = None
    local_name: bytes | None = None
    local_method: int | None = None
    local_flags: int | None = None
    local_crc: int | None = None
    local_size: int | None = None
    local_packed: int | None = None
    listed: bool = True
    extra: bytes = b""
    attributes: int = 0
    header: int | None = None


def deflated(data: bytes) -> bytes:
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return machine.compress(data) + machine.flush()


def make_zip(
    *members: Member, comment: bytes = b"", prefix: bytes = b"", suffix: bytes = b"", count: int | None = None,
    shifted: bool = True,
) -> bytes:  # fmt: skip
    """An archive of exactly these members. ``shifted``: offsets count from the beginning of the prefix."""
    out, directory, listed = bytearray(prefix), bytearray(), 0
    base = 0 if shifted else len(prefix)

    def pick(here: int | None, there: int) -> int:
        return there if here is None else here

    for m in members:
        packed = m.packed if m.packed is not None else deflated(m.data) if m.method == 8 else m.data
        crc, size = pick(m.crc, zlib.crc32(m.data)), pick(m.size, len(m.data))
        header = pick(m.header, len(out) - base)
        if m.header is None:
            name = m.name if m.local_name is None else m.local_name
            out += struct.pack(
                "<4s5H3L2H", b"PK\x03\x04", 20, pick(m.local_flags, m.flags), pick(m.local_method, m.method), 0, 0,
                pick(m.local_crc, crc), pick(m.local_packed, len(packed)), pick(m.local_size, size), len(name), 0,
            )  # fmt: skip
            out += name + packed
        if m.listed:
            listed += 1
            directory += struct.pack(
                "<4s6H3L5H2L", b"PK\x01\x02", 20, 20, m.flags, m.method, 0, 0, crc, len(packed), size, len(m.name),
                len(m.extra), 0, 0, 0, m.attributes, header,
            )  # fmt: skip
            directory += m.name + m.extra
    at = len(out) - base
    total = listed if count is None else count
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, total, total, len(directory), at, len(comment))
    return bytes(out) + bytes(directory) + end + comment + suffix
