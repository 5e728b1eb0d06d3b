"""Whether the files of a version may be used: served by one place, wheels, old enough, not withdrawn.

Pure functions over what the sources say; each file is judged for itself, because a bad wheel added later to an old
release is an attack that has happened. What an index does not tell is unknown and refused until somebody accepts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from packaging.version import InvalidVersion, Version

from assay.collect.packages.files import File
from assay.collect.packages.findings import Finding

Served = Mapping[str, Sequence[File]]
"""Files of one package, by the name of the source; only of sources that serve it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the user demands and accepts."""

    now: datetime
    min_age: timedelta = timedelta(days=7)
    unknown_age: frozenset[str] = frozenset()
    """Packages whose age may be unknown; ``:all:`` is every one."""
    sdists: frozenset[str] = frozenset()
    """Packages that may be source distributions."""
    pins: Mapping[str, str] = field(default_factory=dict)
    """Package to the source's name that alone may serve it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of one version."""

    files: tuple[File, ...]
    """Those that may be used."""
    findings: tuple[Finding, ...]
    """Why it may not be used; empty when it may."""
    notes: tuple[str, ...] = ()
    """Files that were left out, and what was accepted by flag."""


def judge(name: str, version: str, served: Served, rules: Rules, hashes: Sequence[str] | None = None) -> Judged:
    """The files of ``name`` ``version`` that may be used; with ``hashes`` (of a lock), only those are looked at.

    A lock's files must all hold: one of them that does not is a finding. While locking, those that don't are left out,
    and it is a finding when none is left.
    """
    pin = f"{name}=={version}"

    def no(code: str, text: str, *, undecided: bool = False) -> Judged:
        return Judged((), (Finding(code, pin, text, undecided),))

    wanted = rules.pins.get(name)
    if wanted is not None:
        served = {source: files for source, files in served.items() if source == wanted}
        if not served:
            return no("not-served", f"{wanted}, which it is pinned to, does not serve it")
    elif len(served) > 1:
        places = " and ".join(sorted(served))
        return no("two-indexes", f"{places} both serve a package of this name: pin it with --from {name}=PLACE")
    files = [file for found in served.values() for file in found if _same(file.version, version)]
    if hashes is not None:
        files = [file for file in files if file.sha256 in hashes]
        if not files:
            return no("not-served", "no index that may serve it has a file with these bytes")
    if not files and wanted is not None:
        return no("not-served", f"{wanted}, which it is pinned to, has no such version: ask for one that it has")
    if not files:
        return no("not-served", "no index says anything of this version", undecided=True)
    allowed = name in rules.sdists
    if not allowed and not any(file.wheel for file in files):
        return no("sdist-only", "it is served as source only: installing it runs its author's program")
    strict = hashes is not None
    good: list[File] = []
    bad: list[Finding] = []
    notes: list[str] = []
    for file in files:
        found = _wrong(file, name, pin, rules, allowed=allowed)
        if found is None:
            good.append(file)
            if file.uploaded is None and rules.min_age:
                notes.append(f"{file.filename}: its age is unknown, accepted")
            if not file.wheel:
                notes.append(f"{file.filename}: a source distribution, accepted: installing it runs a program")
        elif found.code != "sdist" or strict:
            bad.append(found)
    if good and not strict:
        notes += [f"left out: {finding.text}" for finding in bad]
        bad = []
    # A file that is wrong counts before one that is merely unknown.
    bad.sort(key=lambda finding: finding.undecided)
    return Judged(tuple(good), tuple(bad if strict else bad[:1]), tuple(notes))


def _wrong(file: File, name: str, pin: str, rules: Rules, *, allowed: bool) -> Finding | None:
    """The one thing that speaks against the file."""
    if not file.wheel and not allowed:
        return Finding("sdist", pin, f"{file.filename} is a source distribution")
    if file.yanked is not None:
        why = f": {file.yanked}" if file.yanked else ""
        return Finding("yanked", pin, f"{file.filename} was withdrawn by its publisher{why}")
    if file.sha256 is None:
        return Finding("no-hash", pin, f"{file.source} states no SHA-256 of {file.filename}", undecided=True)
    if not rules.min_age:
        return None
    if file.uploaded is None:
        if rules.unknown_age & {name, ":all:"}:
            return None
        text = f"{file.source} does not tell when {file.filename} appeared: --allow-unknown-age {name} accepts that"
        return Finding("unknown-age", pin, text, undecided=True)
    age = rules.now - file.uploaded
    if age < rules.min_age:
        since = file.uploaded.strftime("%Y-%m-%dT%H:%M:%SZ")
        least = f"{rules.min_age.days} days" if rules.min_age.days else f"{rules.min_age.seconds // 3600} hours"
        return Finding("too-young", pin, f"{file.filename} appeared on {since}, less than {least} ago")
    return None


def _same(one: str, other: str) -> bool:
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return False
