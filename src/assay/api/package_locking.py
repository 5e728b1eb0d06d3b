"""`packages lock`: what a project needs, resolved by the user's own pip or uv and pinned by hash.

A lock is written only when nothing speaks against any part of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from assay.collect.packages import files, judging, locks, requirements, resolving, settings
from assay.collect.packages.findings import Finding, exit_code
from assay.collect.packages.locks import Locked
from assay.errors import DocumentError, RejectedError, UndecidedError


@dataclass(frozen=True, slots=True)
class Demands:
    """What packages must fulfil, and what somebody accepts."""

    min_age: timedelta = timedelta(days=7)
    """How long each file must have been on the index; nothing: any age."""
    unknown_age: frozenset[str] = frozenset()
    """Packages (or ``:all:``) whose age may be unknown."""
    sdists: frozenset[str] = frozenset()
    """Packages that may be source distributions; for a lock only."""
    startup: frozenset[str] = frozenset()
    """Packages that may have code run whenever Python starts."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Package to the index (host and path) that alone may serve it."""
    python: str | None = None
    """``3.12``: for another interpreter than the one that runs."""

    def rules(self, now: datetime) -> judging.Rules:
        """For the judge; names as PEP 503 spells them."""

        def plain(names: frozenset[str]) -> frozenset[str]:
            return frozenset(name if name == ":all:" else files.name_of(name) for name in names)

        pins = {files.name_of(name): place for name, place in self.places.items()}
        return judging.Rules(now, self.min_age, plain(self.unknown_age), plain(self.sdists), pins)


@dataclass(frozen=True, slots=True)
class LockMade:
    """What `lock` found."""

    document: bytes
    """The lock file; empty when something speaks against it."""
    packages: tuple[Locked, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    tool: str
    """Who resolved: ``uv`` or ``pip``."""

    @property
    def exit_code(self) -> int:
        """0 locked, 1 something is wrong, 3 something is unknown."""
        return exit_code(self.findings)


def lock(
    source: str,
    *,
    demands: Demands = Demands(),
    tool: str = "auto",
    extras: Sequence[str] = (),
    now: datetime | None = None,
) -> LockMade:
    """Resolve what ``source`` (a requirements file or ``pyproject.toml``) asks for and pin every file by its hash.

    Only wheels that one place serves, that are old enough and not withdrawn are locked. Raises `AssayError`.
    """
    now = now or datetime.now(UTC)
    wanted = requirements.read(source, extras)
    rules = demands.rules(now)
    known = settings.read("install")
    before = now - demands.min_age if demands.min_age and not rules.unknown_age else None
    try:
        asked, chosen = resolving.choose(
            wanted, known, tool=tool, python=demands.python, sdists=rules.sdists, pinned=bool(rules.pins), before=before
        )
    except resolving.NothingFitsError as error:
        raise explained(error, known) from None
    pages = served([item.name for item in chosen], known)
    packages: list[Locked] = []
    findings: list[Finding] = []
    notes: list[str] = []
    for item in chosen:
        pin = f"{item.name}=={item.version}"
        if item.direct:
            findings.append(Finding("address", pin, "it comes from an address, of which no index says anything"))
            continue
        if asked == "pip" and item.sha256 is None:
            findings.append(Finding("no-hash", pin, "pip does not say which bytes it chose", undecided=True))
            continue
        judged = judging.judge(item.name, item.version, pages[item.name], rules)
        good = tuple(sorted({file.sha256 for file in judged.files if file.sha256}))
        # What was chosen here must itself be acceptable: its own fault says more than another file's absence.
        if good and item.sha256 is not None and item.sha256 not in good:
            judged = judging.judge(item.name, item.version, pages[item.name], rules, [item.sha256])
            good = ()
        findings += judged.findings
        notes += judged.notes
        if good:
            packages.append(Locked(item.name, item.version, good))
    document = b"" if findings else locks.render(packages)
    return LockMade(document, tuple(packages), tuple(findings), tuple(notes), asked)


def served(names: Sequence[str], known: settings.Settings) -> dict[str, dict[str, list[files.File]]]:
    """What every source serves under each name. One that cannot be asked leaves the whole undecided."""
    if not known.sources:
        raise UndecidedError("pip is set to no index", hint="see: pip config list")
    pairs = [(name, source) for name in dict.fromkeys(names) for source in known.sources]
    with ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(lambda pair: files.served(pair[0], pair[1], known), pairs))
    made: dict[str, dict[str, list[files.File]]] = {name: {} for name in names}
    for (name, source), page in zip(pairs, pages, strict=True):
        if page is not None:
            made[name].setdefault(source.name, []).extend(page)
    return made


def explained(error: resolving.NothingFitsError, known: settings.Settings) -> RejectedError:
    """Why nothing fits, where the index can tell: the package is there as source only."""
    only: list[str] = []
    for name in dict.fromkeys(error.names):
        try:
            found = [
                file for page in served([files.name_of(name)], known)[files.name_of(name)].values() for file in page
            ]
        except (DocumentError, UndecidedError):
            continue
        if found and not any(file.wheel for file in found):
            only.append(name)
    if not only:
        return error
    return RejectedError(
        f"served as source only, and installing that runs its author's program: {', '.join(only)}",
        hint=f"find a release with wheels, or accept it: --allow-sdist {only[0]}",
    )
