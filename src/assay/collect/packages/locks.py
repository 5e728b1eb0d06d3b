"""The lock file: exactly which version and which bytes of each package, and nothing else. Written and read here.

It is a pip requirements file (``--require-hashes``) without addresses. Reading never repairs: each line that could let
other bytes in is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from assay.collect.packages.files import name_of
from assay.collect.packages.findings import Finding, clean
from assay.collect.packages.requirements import lines, option_of
from assay.errors import DocumentError

HEADER = """\
# Locked by `assay packages lock`: every file by its hash, no address of an index.
# Install with: pip install --require-hashes --only-binary :all: -r FILE
"""

_HASH = re.compile(r"\s--hash[=\s]\s*(\S+)")
_STRONG = {"sha256": 64, "sha384": 96, "sha512": 128}


@dataclass(frozen=True, slots=True)
class Locked:
    """One package of a lock."""

    name: str
    """Normalised."""
    version: str
    """As PEP 440 writes it."""
    hashes: tuple[str, ...]
    """SHA-256 (hex) of each file that may be installed, sorted."""
    marker: str | None = None
    """Where it applies (PEP 508); None: everywhere."""

    @property
    def pin(self) -> str:
        """``name==version``."""
        return f"{self.name}=={self.version}"


def render(packages: Sequence[Locked]) -> bytes:
    """The lock file's bytes: the same packages always give the same."""
    text = HEADER
    for package in sorted(packages, key=lambda item: (item.name, item.version)):
        marker = f" ; {package.marker}" if package.marker else ""
        hashes = "".join(f" \\\n    --hash=sha256:{digest}" for digest in sorted(package.hashes))
        text += f"{package.pin}{marker}{hashes}\n"
    return text.encode()


def read(data: bytes, path: str) -> tuple[list[Locked], list[Finding]]:
    """The packages of a lock, and every line that pins nothing."""
    packages: list[Locked] = []
    findings: list[Finding] = []
    seen: set[tuple[str, str | None]] = set()

    def wrong(code: str, package: str, text: str) -> None:
        findings.append(Finding(code, package, text))

    for number, line in lines(data):
        where = f"line {number}"
        if line.startswith("-"):
            wrong("option", path, f"{where}: the option {option_of(line)} has no place in a lock")
            continue
        text = _HASH.sub("", line).strip()
        try:
            parsed = Requirement(text)
            name = name_of(parsed.name)
        except (InvalidRequirement, DocumentError):
            wrong("unreadable", path, f"{where} is not a package by name")
            continue
        if parsed.url:
            wrong("address", name, f"{where}: it comes from an address, of which no index says anything")
            continue
        pins = [item for item in parsed.specifier if item.operator == "==" and "*" not in item.version]
        if len(pins) != 1 or len(list(parsed.specifier)) != 1:
            wrong("unpinned", name, f"{where}: it is not pinned to one version")
            continue
        try:
            version = str(Version(pins[0].version))
        except InvalidVersion:
            wrong("unpinned", name, f"{where}: its version is none")
            continue
        marker = str(parsed.marker) if parsed.marker else None
        if (name, marker) in seen:
            wrong("twice", name, f"{where}: it stands there twice")
            continue
        seen.add((name, marker))
        hashes = []
        for stated in _HASH.findall(line):
            algorithm, _, digest = stated.partition(":")
            if not re.fullmatch(f"[0-9a-fA-F]{{{_STRONG.get(algorithm, 0) or 1}}}", digest) or algorithm not in _STRONG:
                wrong(
                    "weak-hash", name, f"{where}: {clean(algorithm, 20)!r} is no strong hash: anybody's bytes may fit"
                )
            elif algorithm == "sha256":
                hashes.append(digest.lower())
        if not hashes:
            wrong("no-hash", name, f"{where}: no SHA-256 says which bytes are meant")
        else:
            packages.append(Locked(name, version, tuple(sorted(set(hashes))), marker))
    if not packages and not findings:
        wrong("empty", path, "it locks no package")
    return packages, findings
