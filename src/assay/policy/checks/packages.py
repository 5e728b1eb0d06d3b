"""``packages``: which software a bill of materials must list, may list and must not list.

Names are compared as PyPI compares them (``Foo_Bar`` is ``foo-bar``), versions as PEP 440 orders them. What cannot be
compared counts as what is forbidden, and never as what is required.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from assay.errors import DocumentError
from assay.policy.checks import bom
from assay.policy.checks.arguments import Arguments, Unknown, Words, convert, schema
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import glob, show, told
from assay.policy.verdict import Violation

_ENTRY = re.compile(r"([A-Za-z0-9*?@][^\s<>=!~;,]*)\s*((?:[<>=!~]=?|===)[^;]*)?")


class Packages(Arguments, frozen=True):
    """Packages by name (``numpy``, ``tensorflow*``), with versions (``numpy>=1.26,<3``), or as a glob over the package
    URL (``pkg:pypi/torch@2.*``).
    """

    deny: Annotated[Words, Meta(description="None of these may be listed.")] = ()
    require: Annotated[Words, Meta(description="Each of these must be listed.")] = ()
    allow: Annotated[Words, Meta(description="Every package must be one of these.")] = ()
    empty: Annotated[Unknown, Meta(description="Whether a bill that lists no package at all passes.")] = "fail"


@dataclass(frozen=True, slots=True)
class _Entry:
    text: str
    name: str
    """Normalised glob; empty for a package URL."""
    versions: Any = None
    """`SpecifierSet`, or None for any version."""
    exact: str | None = None
    """The one version, as written, for versions that PEP 440 does not know."""

    def fits(self, part: bom.Part, names: set[str], *, unclear: bool) -> bool:
        """Whether it means ``part``, of these names; ``unclear`` is the answer where versions can't be compared."""
        if not self.name:
            return part.purl is not None and glob(self.text, part.purl)
        if not any(glob(self.name, name) for name in names):
            return False
        if self.versions is None and self.exact is None:
            return True
        if part.version is None or len(part.version) > 200:
            return unclear
        if self.exact is not None and self.exact == part.version:
            return True
        if self.versions is None:
            return False
        from packaging.version import InvalidVersion, Version

        try:
            return bool(self.versions.contains(Version(part.version), prereleases=True))
        except InvalidVersion:
            return unclear


class _Check:
    name = "packages"
    types: tuple[str, ...] = bom.TYPES
    schema = schema(Packages)

    def prepare(self, arguments: Any, place: str) -> tuple[list[_Entry], list[_Entry], list[_Entry], bool]:
        """See `Check.prepare`."""
        read = convert(Packages, arguments, place)
        if not (read.deny or read.require or read.allow):
            raise DocumentError(f"{place}: none of deny, require and allow is given")
        deny, require, allow = (
            [_entry(text, place) for text in entries] for entries in (read.deny, read.require, read.allow)
        )
        return deny, require, allow, read.empty == "allow"

    def violations(
        self, document: Document, arguments: tuple[list[_Entry], list[_Entry], list[_Entry], bool]
    ) -> Iterator[Violation]:
        """See `Check.violations`."""
        return told(self, document, _wrong(bom.read(document), *arguments))


def _wrong(
    bill: bom.Bill, deny: list[_Entry], require: list[_Entry], allow: list[_Entry], empty: bool
) -> Iterator[Violation]:
    yield from bill.problems
    packages = [(part, _names(part)) for part in bill.packages]
    if not packages and not empty:
        yield Violation("no package is listed, which does not show that there is none", "components")
    for entry in require:
        if not any(entry.fits(part, names, unclear=False) for part, names in packages):
            yield Violation(f"the package {show(entry.text)} is required and not listed", "components")
    for part, names in packages:
        if not part.name:
            continue  # among the problems already
        details = {key: value for key, value in (("package", part.name), ("version", part.version)) if value}
        for entry in deny:
            if entry.fits(part, names, unclear=True):
                unknown = " (its version can't be compared)" * (not entry.fits(part, names, unclear=False))
                yield Violation(f"the package {part.title} is denied by {entry.text}{unknown}", part.path, details)
                break
        else:
            if allow and not any(entry.fits(part, names, unclear=False) for entry in allow):
                yield Violation(f"the package {part.title} is not on the allow list", part.path, details)


def _names(part: bom.Part) -> set[str]:
    """Its name with and without its group, and the name in its package URL, which may be another."""
    found = {_normal(part.name), _normal(part.name.rpartition("/")[2])}
    if part.purl is not None:
        path = re.split("[@?#]", part.purl.removeprefix("pkg:"), maxsplit=1)[0]
        found |= {_normal(path.partition("/")[2]), _normal(path.rpartition("/")[2])}
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _entry(text: str, place: str) -> _Entry:
    if text.startswith("pkg:"):
        return _Entry(text, "")
    match = _ENTRY.fullmatch(text.strip())
    if match is None:
        raise DocumentError(
            f"{place}: {show(text)} is no package",
            hint="write numpy, numpy==1.26.4, numpy>=1.26,<3 or pkg:pypi/numpy@*",
        )
    name, versions = _normal(match[1]), match[2]
    if versions is None:
        return _Entry(text, name)
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    exact = re.fullmatch(r"={2,3}\s*([^\s,*]+)\s*", versions)
    try:
        return _Entry(text, name, SpecifierSet(versions), exact[1] if exact else None)
    except InvalidSpecifier:
        if exact is None:
            raise DocumentError(f"{place}: {show(text)} has no version range that PEP 440 knows") from None
        return _Entry(text, name, None, exact[1])


CHECK = _Check()
