"""One entry of a list of packages, checked: what every parser of this room builds its packages with.

Whatever does not fit becomes a warning and no package; nothing here raises for bad content.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from assay.collect.bom.interface import Package
from assay.collect.bom.purl import clean_url, normalise, purl

MAX_FILE = 16 * 1024 * 1024
"""Bytes of the largest file that is read here."""

Warn = Callable[[str], None]
"""Told what could not be read, and where."""

Parser = Callable[[bytes, str, Warn], Iterator[Package]]
"""From a file's bytes and name, packages."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_LENGTHS = {"md5": ("MD5", 32), "sha1": ("SHA-1", 40), "sha256": ("SHA-256", 64)}
_LENGTHS |= {"sha384": ("SHA-384", 96), "sha512": ("SHA-512", 128)}


def guarded(parser: Parser, data: bytes, name: str, warn: Warn) -> Iterator[Package]:
    """What the parser finds; its errors become one warning that names the file."""
    try:
        yield from parser(data, name, warn)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        # Bad syntax is a ValueError in all of the parsers used; the others mean another shape.
        warn(f"{name}: not read to its end, {type(error).__name__}: {str(error)[:200]}")


def make(
    name: object,
    version: object,
    scope: str,
    source: str,
    warn: Warn,
    *,
    requirement: str | None = None,
    hashes: list[tuple[str, str]] | None = None,
    url: str | None = None,
    vcs: str | None = None,
    direct: bool | None = None,
) -> Iterator[Package]:
    """One package, or none and a warning when the name or the version is not one.

    ``url`` is where a file comes from, ``vcs`` a repository with ``@revision``; both become purl qualifiers.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > 200:
        warn(f"{source}: {str(name)[:100]!r} is not the name of a package")
        return
    if version is not None and (not isinstance(version, str) or not re.fullmatch(r"[0-9A-Za-z.!+_-]{1,100}", version)):
        warn(f"{source}: {name} has the version {str(version)[:100]!r}, which is none")
        version = None
    qualifiers = {}
    if vcs:
        qualifiers["vcs_url"] = vcs
    elif url:
        qualifiers["download_url"] = url
    plain = normalise(name)
    yield Package(
        plain,
        version,
        purl("pypi", plain, version, qualifiers=qualifiers),
        scope,
        source,
        requirement[:1000] if requirement else None,
        tuple(sorted(set(hashes or ()))),
        (),
        direct,
    )


def vcs_url(kind: str, url: str, revision: object) -> str | None:
    """``git+https://host/path@revision`` without credentials, or None when there is no such URL."""
    cleaned = clean_url(url)
    if not cleaned:
        return None
    return f"{kind}+{cleaned}" + (f"@{revision}" if isinstance(revision, str) and revision else "")


def hash_pair(text: object, where: str, warn: Warn) -> list[tuple[str, str]]:
    """``sha256:…`` as an (algorithm, hex) pair; none and a warning when it is not that."""
    algorithm, _, value = str(text).partition(":")
    name, length = _LENGTHS.get(algorithm.lower(), ("", 0))
    if not name or not re.fullmatch(f"[0-9a-fA-F]{{{length}}}", value):
        warn(f"{where}: {str(text)[:100]!r} is not a hash")
        return []
    return [(name, value.lower())]


def table(value: object) -> Mapping[str, Any]:
    """``value`` when it is a table, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """``value`` when it is a list, else an empty one."""
    return value if isinstance(value, list) else []
