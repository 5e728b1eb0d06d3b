"""What installing a wheel would put where: every entry held against RECORD, odd names refused, start-up files named.

Nothing is unpacked to disk, imported or run. The Python sources are not judged: a wheel that passes may still hold a
program that means harm, but only one that somebody has to import or call.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import HeaderParser

from packaging.utils import parse_wheel_filename
from packaging.version import InvalidVersion, Version

from assay.collect.packages.files import name_of, sha256_of
from assay.collect.packages.findings import Finding, clean
from assay.errors import AssayError

MAX_ENTRIES = 200_000
"""Entries of the largest wheel; the largest on PyPI has some 30,000."""
MAX_UNPACKED = 32 << 30
"""Bytes that a wheel may have unpacked."""
MAX_RATIO = 200
"""How often larger than the archive its contents may be, beyond `_FREE`; honest wheels stay below 20."""
_FREE = 64 << 20
_MAX_TEXT = 32 << 20
_BLOCK = 1 << 20

_NATIVE = re.compile(r"\.(so(\.[0-9.]+)?|pyd|dll|dylib|a|lib|exe)$", re.IGNORECASE)
_MAGIC = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xca\xfe\xba\xbe\x00")
_STARTUP = ("sitecustomize", "usercustomize")
_STRONG = ("sha256", "sha384", "sha512")


@dataclass(frozen=True, slots=True)
class Wheel:
    """What a wheel's own bytes say."""

    filename: str
    name: str
    """Normalised, from the file's name."""
    version: str
    size: int
    """Bytes of the archive."""
    sha256: str
    licence_expression: str | None = None
    licence: str | None = None
    """The older field, as written."""
    classifiers: tuple[str, ...] = ()
    native: tuple[str, ...] = ()
    """Compiled code."""
    scripts: tuple[str, ...] = ()
    """Programs that are put on the path."""
    startup: tuple[str, ...] = ()
    """Files that Python itself reads whenever it starts: ``.pth``, ``sitecustomize``."""
    findings: tuple[Finding, ...] = ()


def examine(path: str, *, startup: frozenset[str] = frozenset()) -> Wheel:
    """Read the wheel at ``path``; ``startup`` are packages that may have code run whenever Python starts."""
    filename = os.path.basename(path)
    parsed, version, _, _ = parse_wheel_filename(filename)
    name = str(parsed)
    pin = f"{name}=={version}"
    size, digest = os.path.getsize(path), sha256_of(path)
    reader = _Reader(pin, name, str(version), size)
    try:
        with zipfile.ZipFile(path) as archive:
            reader.read(archive)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError, ValueError) as error:
        reader.wrong("damaged", f"{filename} cannot be read to its end: {clean(error, 100)}")
    if reader.startup and name not in startup:
        reader.wrong(
            "startup",
            f"{clean(reader.startup[0])} runs whenever Python starts, used or not: --allow-startup {name} accepts that",
        )
    headers = reader.headers
    return Wheel(
        filename,
        name,
        str(version),
        size,
        digest,
        _text(headers.get("License-Expression")),
        _text(headers.get("License")),
        tuple(clean(value) for value in headers.get_all("Classifier", ()) if str(value).startswith("License ::")),
        tuple(sorted(reader.native)),
        tuple(sorted(reader.scripts)),
        tuple(sorted(reader.startup)),
        tuple(reader.findings),
    )


def _text(value: object) -> str | None:
    return str(value) if value is not None else None


class _Reader:
    """One pass over a wheel's entries."""

    def __init__(self, pin: str, name: str, version: str, size: int) -> None:
        self.pin, self.name, self.version, self.size = pin, name, version, size
        self.findings: list[Finding] = []
        self.native: list[str] = []
        self.scripts: list[str] = []
        self.startup: list[str] = []
        self.headers = HeaderParser().parsestr("")

    def wrong(self, code: str, text: str) -> None:
        """Keep a finding."""
        self.findings.append(Finding(code, self.pin, text))

    def read(self, archive: zipfile.ZipFile) -> None:
        """Look at every entry; what could fill the disk or the memory is not read at all."""
        entries = archive.infolist()
        total = sum(entry.file_size for entry in entries)
        if len(entries) > MAX_ENTRIES or total > MAX_UNPACKED or total > _FREE + MAX_RATIO * self.size:
            self.wrong("bomb", f"it unpacks to {total:,} bytes in {len(entries):,} entries, as bombs do")
            return
        if not self._names(entries):
            return
        folder = self._folder(entries)
        if folder is None:
            return
        record = self._record(archive, folder)
        if record is None:
            return
        listed = set()
        for entry in entries:
            if entry.is_dir():
                continue
            name = entry.filename
            data = self._digests(archive, entry, record.get(name, ("", ""))[0])
            self._sort(name, data[1], entry)
            if name.startswith(f"{folder}/RECORD"):  # RECORD, RECORD.jws and RECORD.p7s cannot list themselves
                continue
            listed.add(name)
            algorithm, stated = record.get(name, ("", ""))
            if name not in record:
                self.wrong("record", f"{clean(name)} is not in RECORD, and would be installed all the same")
            elif algorithm not in _STRONG:
                self.wrong("record", f"RECORD has no strong hash of {clean(name)}")
            elif data[0] != stated:
                self.wrong("record", f"{clean(name)} has other bytes than RECORD says")
        for name in sorted(record.keys() - listed)[:20]:
            if not name.startswith(f"{folder}/RECORD"):
                self.wrong("record", f"{clean(name)} is in RECORD and not in the wheel")
        self._metadata(archive, folder)

    def _names(self, entries: list[zipfile.ZipInfo]) -> bool:
        """Whether every name stays inside, is a file or folder, and stands there once."""
        before = len(self.findings)
        seen: set[str] = set()
        for entry in entries:
            name = entry.filename
            kind = stat.S_IFMT(entry.external_attr >> 16)
            parts = name.rstrip("/").split("/")
            if name != entry.orig_filename or "\\" in name or re.match(r"/|[A-Za-z]:", name) or not name.isprintable():
                self.wrong("name", f"{clean(ascii(entry.orig_filename))} is no name inside of a wheel")
            elif any(part in ("", ".", "..") for part in parts):
                self.wrong("traversal", f"{clean(name)} leads out of the folder that it is installed into")
            elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                self.wrong("link", f"{clean(name)} is a link or a device")
            elif name.casefold() in seen:
                self.wrong("twice", f"{clean(name)} stands there twice: two readers could see two files")
            elif entry.flag_bits & 1:
                self.wrong("encrypted", f"{clean(name)} is encrypted")
            seen.add(name.casefold())
        return len(self.findings) == before

    def _folder(self, entries: list[zipfile.ZipInfo]) -> str | None:
        """The one ``.dist-info`` folder, which must be this package's."""
        tops = {entry.filename.partition("/")[0] for entry in entries}
        folders = sorted(top for top in tops if top.endswith(".dist-info"))
        if len(folders) != 1:
            self.wrong("metadata", f"it has {len(folders)} .dist-info folders instead of one")
            return None
        name, _, version = folders[0].removesuffix(".dist-info").rpartition("-")
        if not self._is_it(name, version):
            self.wrong("metadata", f"its contents are of {clean(folders[0])}, not of what its name says")
            return None
        return folders[0]

    def _is_it(self, name: str, version: str) -> bool:
        try:
            return name_of(name) == self.name and Version(version) == Version(self.version)
        except (AssayError, InvalidVersion):
            return False

    def _record(self, archive: zipfile.ZipFile, folder: str) -> dict[str, tuple[str, str]] | None:
        """RECORD: name to (algorithm, digest in hex); PyPA, "Binary distribution format"."""
        text = self._small(archive, f"{folder}/RECORD")
        if text is None:
            self.wrong("record", "it has no RECORD, so that nothing says which files belong to it")
            return None
        made: dict[str, tuple[str, str]] = {}
        try:
            for row in csv.reader(io.StringIO(text, newline="")):
                if not row:
                    continue
                algorithm, _, digest = row[1].partition("=") if len(row) > 1 else ("", "", "")
                if row[0] in made:
                    self.wrong("record", f"RECORD names {clean(row[0])} twice")
                made[row[0]] = (algorithm, base64.urlsafe_b64decode(digest + "=" * (-len(digest) % 4)).hex())
        except (csv.Error, ValueError):
            self.wrong("record", "RECORD cannot be read")
            return None
        return made

    def _small(self, archive: zipfile.ZipFile, name: str) -> str | None:
        try:
            entry = archive.getinfo(name)
        except KeyError:
            return None
        if entry.file_size > _MAX_TEXT:
            self.wrong("damaged", f"{clean(name)} is larger than what is read")
            return None
        return archive.read(entry).decode("utf-8", "replace")

    def _digests(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, algorithm: str) -> tuple[str, bytes]:
        """The entry's digest (hex), and its first bytes."""
        digest = hashlib.new(algorithm if algorithm in _STRONG else "sha256")
        head = b""
        with archive.open(entry) as file:
            while block := file.read(_BLOCK):
                head = head or block[:64]
                digest.update(block)
        return digest.hexdigest(), head

    def _sort(self, name: str, head: bytes, entry: zipfile.ZipInfo) -> None:
        """What kind of file an entry becomes."""
        if _NATIVE.search(name) or head.startswith(_MAGIC):
            self.native.append(name)
        parts = name.split("/")
        placed = parts
        if parts[0].endswith(".data") and len(parts) > 2:
            placed = parts[2:]
            if parts[1] == "scripts":
                self.scripts.append(name)
            if parts[1] not in ("purelib", "platlib"):
                # data lies at the environment's root, where lib/pythonX.Y/site-packages is, too
                placed = placed[-1:] if "site-packages" in placed or parts[1] == "data" else []
        elif entry.external_attr >> 16 & 0o111 and head.startswith(b"#!"):
            self.scripts.append(name)
        if placed and len(placed) <= 2:
            top = placed[0]
            if len(placed) == 1 and top.lower().endswith(".pth"):
                self.startup.append(name)
            if top.partition(".")[0].casefold() in _STARTUP:
                self.startup.append(name)

    def _metadata(self, archive: zipfile.ZipFile, folder: str) -> None:
        """Name and version in METADATA must be those of the file; and WHEEL must be of a kind that pip installs."""
        text = self._small(archive, f"{folder}/METADATA")
        if text is None or self._small(archive, f"{folder}/WHEEL") is None:
            self.wrong("metadata", "it has no METADATA or no WHEEL")
            return
        self.headers = HeaderParser().parsestr(text)
        if not self._is_it(str(self.headers.get("Name", "")), str(self.headers.get("Version", ""))):
            self.wrong("metadata", "METADATA is of another package or version than the file's name says")
        for line in _section(self._small(archive, f"{folder}/entry_points.txt") or ""):
            self.scripts.append(f"bin/{line}")


def _section(text: str) -> Iterator[str]:
    """Names of the programs that pip makes from ``entry_points.txt``."""
    current = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("["):
            current = line
        elif current in ("[console_scripts]", "[gui_scripts]") and "=" in line and not line.startswith("#"):
            yield clean(line.partition("=")[0].strip(), 100)
