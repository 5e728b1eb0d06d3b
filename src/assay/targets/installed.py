"""Reading one installed distribution: its METADATA, RECORD and what else the installer wrote beside them.

The files are whatever an installer, or an attacker, left there: what does not follow the specification is an error
that names the distribution. Nothing is imported, and no path that RECORD lists is opened here.
Sources: "Recording installed projects" (RECORD, INSTALLER, direct_url.json) and "Core metadata" of the packaging
specifications.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from assay.errors import TargetError
from assay.targets.names import shown, without_secrets

_LIMIT = 64 * 1024 * 1024  # bytes of a METADATA or RECORD; the largest known RECORD has some 5 MB
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")  # core metadata, "Name"
_VERSION = re.compile(r"[A-Za-z0-9.!+_-]{1,200}")
_HASH = re.compile(r"[A-Za-z0-9_]+=[A-Za-z0-9_-]+=*")


@dataclass(frozen=True, slots=True)
class Distribution:
    """An installed distribution."""

    name: str
    """As its METADATA spells it."""
    version: str
    """As its METADATA spells it."""
    site: str
    """Absolute folder that it is installed in."""
    info: str
    """Its metadata's folder (or egg-info file) beneath `site`."""
    installer: str | None = None
    """What installed it: ``pip``, ``uv``, …"""
    direct_url: Mapping[str, object] | None = None
    """``direct_url.json``: where it came from when not from an index (PEP 610), without credentials."""
    license_expression: str | None = None
    """SPDX expression (core metadata 2.4)."""
    license: str | None = None
    """Free text of the older field."""
    classifiers: tuple[str, ...] = ()
    """Those about the licence: ``License :: …``."""
    requires: tuple[str, ...] = ()
    """``Requires-Dist``, as written."""
    files: tuple[tuple[str, bytes | None], ...] = field(default=(), repr=False)
    """RECORD: path beneath `site`, SHA-256 where it gives one. Empty for a distribution without RECORD."""

    @property
    def folder(self) -> str:
        """First component of its resources' names."""
        return f"{self.name}-{self.version}"

    def describe(self) -> dict[str, object]:
        """JSON-like, for evidence: the attributes but paths of this machine and files, without what is empty."""
        found: dict[str, object] = {"name": self.name, "version": self.version}
        for key in ("installer", "license_expression", "license"):
            if value := getattr(self, key):
                found[key] = value
        if self.direct_url:
            found["direct_url"] = dict(self.direct_url)
        for key in ("classifiers", "requires"):
            if value := getattr(self, key):
                found[key] = list(value)
        return found


def read_distribution(site: str, info: str, prefix: str) -> Distribution:
    """The distribution whose metadata is ``info`` in the folder ``site`` of the environment ``prefix``."""
    from email.parser import HeaderParser

    path = os.path.join(site, info)
    label = os.path.relpath(path, prefix)
    folder = os.path.isdir(path)
    main = path if not folder else os.path.join(path, "METADATA" if info.endswith(".dist-info") else "PKG-INFO")
    text = _read(main, label)
    if text is None:
        raise TargetError(f"the distribution {shown(label)} has no metadata", hint="install it again, or remove it")
    headers = HeaderParser().parsestr(text)
    name, version = str(headers["Name"] or "").strip(), str(headers["Version"] or "").strip()
    if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
        raise TargetError(f"the METADATA of {shown(label)} names no distribution: {shown(name)} {shown(version)}")
    record = _read(os.path.join(path, "RECORD"), label) if folder else None
    installer = _read(os.path.join(path, "INSTALLER"), label) if folder else None
    classifiers = tuple(str(one) for one in headers.get_all("Classifier", []))
    return Distribution(
        name,
        version,
        site,
        info,
        installer=(installer or "").strip() or None,
        direct_url=_direct_url(os.path.join(path, "direct_url.json"), label) if folder else None,
        license_expression=_field(headers["License-Expression"]),
        license=_field(headers["License"]),
        classifiers=tuple(one for one in classifiers if one.startswith("License ::")),
        requires=tuple(str(one) for one in headers.get_all("Requires-Dist", [])),
        files=() if record is None else parse_record(record, label),
    )


def parse_record(text: str, label: str) -> tuple[tuple[str, bytes | None], ...]:
    """Paths and SHA-256 of a RECORD, in its order; `TargetError` naming ``label`` where it is malformed.

    Hashes by SHA-384 and SHA-512 are allowed, and not compared; weaker ones are forbidden.
    """
    found: dict[str, bytes | None] = {}
    try:
        for row in csv.reader(io.StringIO(text), strict=True):
            if not row:
                continue
            if len(row) != 3 or not row[0] or "\0" in row[0]:
                raise TargetError(f"the RECORD of {shown(label)} has a line that is not one: {shown(','.join(row))}")
            path, hash_, _ = row
            digest = _digest(hash_, label)
            if path in found and found[path] != digest:
                raise TargetError(f"the RECORD of {shown(label)} lists {shown(path)} twice, with different hashes")
            found[path] = digest
    except csv.Error as error:
        raise TargetError(f"the RECORD of {shown(label)} is malformed: {error}") from None
    return tuple(found.items())


def _digest(text: str, label: str) -> bytes | None:
    if not text:
        return None
    algorithm, _, value = text.partition("=")
    if not _HASH.fullmatch(text) or algorithm not in ("sha256", "sha384", "sha512"):
        raise TargetError(f"the RECORD of {shown(label)} has a hash that does not count: {shown(text)}")
    size = int(algorithm[3:]) // 8
    try:
        if len(value) == 2 * size:  # Debian's packages have hexadecimal ones
            digest = bytes.fromhex(value)
        else:
            digest = base64.urlsafe_b64decode(value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4))
    except ValueError:
        digest = b""
    if len(digest) != size:
        raise TargetError(f"the RECORD of {shown(label)} has a hash of the wrong length: {shown(text)}")
    return digest if algorithm == "sha256" else None


def _direct_url(path: str, label: str) -> dict[str, object] | None:
    text = _read(path, label)
    if text is None:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TargetError(f"the direct_url.json of {shown(label)} is not a JSON object")
    url = found.get("url")
    return {**found, "url": without_secrets(url)} if isinstance(url, str) else found


def _read(path: str, label: str) -> str | None:
    """Text of a small file, None where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            data = file.read(_LIMIT + 1)
        if len(data) > _LIMIT:
            raise TargetError(f"{shown(os.path.basename(path))} of {shown(label)} is longer than {_LIMIT} bytes")
        return data.decode()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        reason = "is not UTF-8"
    raise TargetError(f"{shown(os.path.basename(path))} of {shown(label)} {reason}")


def _field(value: object) -> str | None:
    text = str(value).strip() if value is not None else ""
    return None if text in ("", "UNKNOWN") else text
