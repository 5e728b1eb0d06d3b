"""Python packages that a target declares, locks or has installed. Reads text; never runs a build or a
resolver.

Which file says what is decided by its name alone; a file or a line that cannot be read becomes a warning.
Lock files are in `locks`, requirements files in `requirements`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from assay.collect.bom.interface import Package
from assay.collect.bom.purl import clean_url, normalise, purl
from assay.targets.interface import Target

MAX_FILE = 16 * 1024 * 1024
"""Bytes of the largest file that is read here."""
MAX_FILES = 2000
"""Files that are read of one target."""
MAX_PACKAGES = 100_000
"""Packages that are listed of one target."""

Warn = Callable[[str], None]
"""Told what could not be read, and where."""

Parser = Callable[[bytes, str, Warn], Iterator[Package]]
"""From a file's bytes and name, packages."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_LENGTHS = {"md5": ("MD5", 32), "sha1": ("SHA-1", 40), "sha256": ("SHA-256", 64)}
_LENGTHS |= {"sha384": ("SHA-384", 96), "sha512": ("SHA-512", 128)}


def read_packages(target: Target) -> tuple[list[Package], list[str]]:
    """All packages of a target, sorted by name, version, scope and source, and warnings.

    A file target is only read when it is itself such a file. For ``env:`` it is the installed distributions
    alone: what their files declare is not what is installed.
    """
    from assay.collect.bom.installed import read_installed

    warnings: list[str] = []
    packages: list[Package] = []
    if target.reference.scheme == "env":
        packages = read_installed(target.facts.notes.get("distributions"), warnings.append)
    else:
        _read_files(target, packages, warnings.append)
    packages.sort(key=lambda p: (p.name, p.version or "", p.scope, p.source, p.requirement or ""))
    declared = {package.name for package in packages if package.scope == "declared"}
    if declared:
        packages = [p if p.direct is not None else replace(p, direct=p.name in declared) for p in packages]
    return packages, warnings


def _read_files(target: Target, packages: list[Package], warn: Warn) -> None:
    """Every file of the target that a parser is for."""
    from assay.collect.bom import requirements

    done = 0
    seen: set[str] = set()
    known = frozenset(target.names)
    for i, name in enumerate(target.names):
        parser = parser_for(name)
        if parser is None:
            continue
        if done == MAX_FILES:
            warn(f"more than {MAX_FILES} files name packages; the rest was not read")
            break
        done += 1
        if target.sizes[i] > MAX_FILE:
            warn(f"{name}: {target.sizes[i]:,} bytes are too many for a list of packages")
            continue
        if parser is requirements.parse:
            found = requirements.read(target, name, warn, seen, known)
        else:
            with target.open(name) as file:
                found = guarded(parser, file.read(MAX_FILE + 1), name, warn)
        for package in found:
            packages.append(package)
            if len(packages) == MAX_PACKAGES:
                warn(f"more than {MAX_PACKAGES:,} packages are named; the rest was not read")
                return


def parser_for(name: str) -> Parser | None:
    """What reads the file of that name, or None when it lists no packages."""
    from assay.collect.bom import declared, locks, requirements

    folder, _, base = name.rpartition("/")
    if base in ("pyproject.toml", "setup.cfg", "environment.yml", "environment.yaml"):
        return {"pyproject.toml": declared.pyproject, "setup.cfg": declared.setup_cfg}.get(base, declared.environment)
    if base in ("poetry.lock", "pdm.lock", "uv.lock", "Pipfile.lock"):
        return {"poetry.lock": locks.poetry, "pdm.lock": locks.pdm, "uv.lock": locks.uv}.get(base, locks.pipfile)
    if re.fullmatch(r"pylock(\.[^.]+)?\.toml", base):
        return locks.pylock
    if base.endswith(".txt") and (re.search(r"requirements", base) or folder.rpartition("/")[2] == "requirements"):
        return requirements.parse
    return None


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
