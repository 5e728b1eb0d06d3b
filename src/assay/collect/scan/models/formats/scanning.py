"""The scan of one file: detects its formats, runs their scanners, and goes into whatever lies inside.

All limits are shared by everything inside one file, so that archives in archives cannot multiply them. Nothing that a
scanner does may end a scan as clean: what it raises, whatever it is, becomes a finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO, Protocol

from assay.collect.scan.models.formats import detect
from assay.collect.scan.models.formats.compressed import is_stream
from assay.collect.scan.models.formats.naming import doubts, forced
from assay.collect.scan.models.formats.telling import DENIAL, SUPPLY, shown, tell
from assay.collect.scan.models.formats.views import part
from assay.collect.scan.models.interface import Finding, FormatScanner, Limits, Rules, Scan, Severity, Tier
from assay.errors import AssayError, DocumentError

MAX_FINDINGS = 1000
"""Findings told of one file; beyond them only what makes its tier worse is."""

MAX_SAME = 50
"""Findings of one rule told of one file, likewise."""

FREE = 64 << 20
"""Bytes that may be unpacked before `Limits.ratio` counts."""

STEEP = 4 << 30
"""Bytes up to which it counts: behind them files are `FLAT` times larger at most, or a bomb would take minutes."""

FLAT = 20
"""Compressed weights are hardly smaller than plain ones."""


APPLE_DOUBLE = b"\0\x05\x16\x07"
"""How the files ``._NAME`` begin that macOS puts beside others (RFC 1740); no pickle begins so."""


class RunPickle(Protocol):
    """The pickle engine, handed in."""

    def __call__(
        self,
        file: BinaryIO,
        size: int,
        *,
        exact: bool,
        encoding: str,
        rules: Rules,
        limits: Limits,
        inner: Callable[[BinaryIO, int, int], Iterator[Finding]],
    ) -> Iterator[Finding]:
        """As `Scan.pickle`: ``size`` is the file's; the program begins at its position and leaves it at its end.
        ``inner`` scans a byte string of the program that looks like a container: a file, begin and end in it.
        """
        ...


@dataclass(slots=True)
class Budget:
    """What is left for one file with everything inside it."""

    members: int
    unpacked: int
    free: int = FREE

    def charge(self, size: int, cost: int) -> None:
        """Pay for unpacked bytes; the first `FREE` cost the same whatever unpacks them. Raises `DocumentError`."""
        self.unpacked -= size * (cost if self.free < 0 else 1)
        self.free -= size
        if self.unpacked < 0:
            raise DocumentError("it unpacks to more bytes than are read, as a bomb does")


class FileScan:
    """`Scan`, as the scanners of formats see it."""

    def __init__(
        self,
        path: str,
        member: str | None,
        depth: int,
        *,
        rules: Rules,
        limits: Limits,
        run_pickle: RunPickle,
        budget: Budget,
        siblings: Mapping[str, int],
    ) -> None:
        self.path = path
        self.member = member
        self.rules = rules
        self.limits = limits
        self.siblings = siblings
        self._depth = depth
        self._run_pickle = run_pickle
        self._budget = budget

    def charge(self, size: int, cost: int = 1) -> None:
        """Pay for ``size`` unpacked bytes. Raises `DocumentError` when the file's budget is spent."""
        self._budget.charge(size, cost)

    def count(self) -> None:
        """Pay for one member that is not scanned on its own. Raises `DocumentError` when there are too many."""
        self._budget.members -= 1
        if self._budget.members < 0:
            raise DocumentError(f"there are more than {self.limits.members:,} members inside")

    def inner(self, file: BinaryIO, name: str, size: int | None) -> Iterator[Finding]:
        """Scan what lies inside. An unknown ``size`` is found by seeking to the end."""
        member = shown(name, 500) if self.member is None else f"{self.member}!/{shown(name, 500)}"
        inside = FileScan(
            name,
            member,
            self._depth + 1,
            rules=self.rules,
            limits=self.limits,
            run_pickle=self._run_pickle,
            budget=self._budget,
            siblings={},
        )
        try:
            self.count()
        except DocumentError as error:
            yield inside.bomb("archive/members", error.message)
            return
        if inside._depth > self.limits.depth:
            yield inside.bomb("archive/depth", f"archives are nested deeper than {self.limits.depth}")
            return
        try:
            size = file.seek(0, 2) if size is None else size
            chosen = inside.formats(file, size)
        except (AssayError, OSError, ValueError) as error:
            yield inside.failed(error)
            return
        yield from inside.run(file, size, chosen)

    def pickle(self, file: BinaryIO, size: int, *, exact: bool, encoding: str = "ASCII") -> Iterator[Finding]:
        """Run the pickle at the file's position through the engine."""
        yield from self._located(
            self._run_pickle(
                file,
                size,
                exact=exact,
                encoding=encoding,
                rules=self.rules,
                limits=self.limits,
                inner=self._byte_string,
            )
        )

    def formats(self, file: BinaryIO, size: int) -> list[FormatScanner]:
        """The scanners that the file is for: by its content, or by the loader that its name asks for."""
        found = detect(file, size, self.path)
        if not found:
            file.seek(0)
            apple = file.read(4) == APPLE_DOUBLE  # called like the file that it is about; no loader reads it
            found = [] if apple else forced(self.path, size)
        return found

    def run(self, file: BinaryIO, size: int, chosen: list[FormatScanner]) -> Iterator[Finding]:
        """Run every chosen scanner; what one raises does not stop the next."""
        yield from self._located(iter(doubts(self, size, [scanner.name for scanner in chosen])))
        for scanner in chosen:
            yield from self._guarded(scanner, file, size)

    def bomb(self, rule: str, message: str) -> Finding:
        """A finding for what was not read because a limit was reached."""
        return tell(self, rule, Tier.UNREADABLE, Severity.HIGH, message, atlas=DENIAL)

    def failed(self, error: Exception) -> Finding:
        """A finding for what could not be scanned at all."""
        text = error.message if isinstance(error, AssayError) else f"{type(error).__name__} while reading it"
        return tell(self, "scan/failed", Tier.UNREADABLE, Severity.HIGH, f"it could not be scanned: {text}")

    def _byte_string(self, file: BinaryIO, begin: int, end: int) -> Iterator[Finding]:
        """Scan a byte string of a pickle; one that only begins like a compressed stream is none."""
        view = part(file, begin, end - begin)
        try:
            stream = is_stream(view, end - begin, self)
        except DocumentError as error:
            yield self.bomb("archive/budget", error.message)
            return
        if stream:
            yield from self.inner(view, f"(byte string at {begin})", end - begin)

    def _guarded(self, scanner: FormatScanner, file: BinaryIO, size: int) -> Iterator[Finding]:
        try:
            file.seek(0)
            yield from self._located(scanner.findings(file, size, self))
        except DocumentError as error:
            yield tell(self, f"{scanner.name}/unreadable", Tier.UNREADABLE, Severity.HIGH, error.message, atlas=SUPPLY)
        except Exception as error:  # fail closed: a scanner's mistake must not make a file clean
            yield self.failed(error)

    def _located(self, findings: Iterator[Finding]) -> Iterator[Finding]:
        for finding in findings:
            yield replace(finding, member=self.member) if finding.member is None and self.member else finding


def scan_stream(
    file: BinaryIO,
    size: int,
    path: str,
    rules: Rules,
    limits: Limits,
    run_pickle: RunPickle,
    *,
    siblings: Mapping[str, int] | None = None,
) -> tuple[str | None, Iterator[Finding]]:
    """The format of a file (several, divided by ``+``, where it is all of them) and what is wrong with it.

    ``file`` must seek; it is read while the findings are taken. ``path`` is its name in the target, ``siblings`` the
    names and sizes of the target's files. None and no findings: nothing that any loader would run.
    """
    allowed = FREE + min(size * limits.ratio, STEEP) + size * FLAT
    budget = Budget(limits.members, min(limits.unpacked, allowed))
    scan = FileScan(
        path,
        None,
        0,
        rules=rules,
        limits=limits,
        run_pickle=run_pickle,
        budget=budget,
        siblings=siblings or {},
    )
    try:
        chosen = scan.formats(file, size)
    except (AssayError, OSError, ValueError) as error:
        return None, iter([scan.failed(error)])
    names = list(dict.fromkeys(scanner.name for scanner in chosen if scanner.name != "zip")) or [
        scanner.name for scanner in chosen[:1]
    ]
    return "+".join(names) or None, _bounded(scan, scan.run(file, size, chosen))


def _bounded(scan: Scan, findings: Iterator[Finding]) -> Iterator[Finding]:
    worst, told, kept_back = Tier.NONE, Counter[str](), 0
    for finding in findings:
        few = told[finding.rule] < MAX_SAME and told.total() < MAX_FINDINGS
        if few or finding.tier.rank > worst.rank:
            yield finding
            told[finding.rule] += 1
        else:
            kept_back += 1
        worst = max(worst, finding.tier, key=lambda tier: tier.rank)
    if kept_back:
        yield tell(scan, "scan/more", Tier.NONE, Severity.INFO, f"{kept_back:,} further findings are not listed")
