"""What a scan for poisoning reads and finds: settings, suspect rows with reasons, groups that act together.

Plain values, without NumPy: showing a result must not need the libraries that made it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from assay.collect.scan.models.interface import FileResult, Severity, TargetResult

METHOD = 2
"""Number of the method: raised whenever the same rows and settings may lead to other findings."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What counts as what in a data set, and how much of it is looked at. Recorded, as a digest, in the evidence."""

    label: str | None = None
    """Column with the class of each row; None looks for a usual name, and the empty string says that there is none."""
    text: tuple[str, ...] = ()
    """Columns with text; empty means those that look like it."""
    source: str | None = None
    """Column that says who contributed a row; None looks for a usual name, and takes each file as one otherwise."""
    ignore: tuple[str, ...] = ()
    """Columns that are no content: identifiers, time stamps."""
    sample: int = 20_000
    """Rows that are analysed; of a larger data set so many are drawn at random, and the result says so."""
    seed: int = 0
    """Of the draw and of every random step, together with the data set's own digest."""
    shown: int = 1_000
    """Suspect rows that are listed; all of them are counted."""
    embeddings: str | None = None
    """Contents digest (hex) of the file with each row's embedding; set while scanning."""
    since: tuple[str, ...] = ()
    """Contents digests (hex) of the earlier versions that it was compared with; set while scanning."""

    @property
    def digest(self) -> str:
        """Hex SHA-256 over the settings and the method: two scans with the same one are comparable."""
        return hashlib.sha256(repr((METHOD, sorted(asdict(self).items()))).encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True, slots=True)
class Row:
    """Where a row is."""

    file: str
    """Path in the target; members of an ``.npz`` archive share it."""
    number: int
    """Counted from 1, without the header line."""

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a row is suspect."""

    kind: str
    """``label-error``, ``neighbours``, ``duplicate-conflict``, ``outlier``, ``spectral``, ``trigger``, ``source``,
    ``block``, ``relabelled`` or ``new``.
    """
    strength: float
    """From 0 to 1: how much the row is unlike an honest one in this respect alone."""
    text: str
    """The same in words, printable."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A row that somebody should look at."""

    row: Row
    score: float
    """From 0 to 1, all reasons together; orders the list and is no probability."""
    label: str | None
    """The one it has."""
    suggested: str | None
    """The one that the rest of the data speaks for, where that is another."""
    reasons: tuple[Reason, ...]
    """Strongest first."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are odd together: what an attack looks like, and a single label error does not."""

    kind: str
    """As in `Reason`, or ``label-errors`` and ``near-duplicates`` for all of them together."""
    severity: Severity
    text: str
    """What they have in common and why that is odd, printable."""
    count: int
    """Rows."""
    rows: tuple[Row, ...]
    """The first of them."""
    label: str | None = None
    """The label that they share."""


@dataclass(frozen=True, slots=True)
class Version:
    """An earlier version of the data set."""

    name: str
    """What it is called."""
    contents: str
    """Digest of its contents, hex: hold it against what was attested before believing the comparison."""
    rows: int
    """Its rows."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The data set beside earlier versions of itself."""

    versions: tuple[Version, ...]
    """All of them, as the caller named them."""
    new: int
    """Analysed rows that none of them has."""
    relabelled: int
    """Analysed rows that they have with other labels only."""


@dataclass(frozen=True, slots=True)
class Point:
    """A row in the picture."""

    x: float
    """First principal component, scaled to 0…1."""
    y: float
    """Second one."""
    label: int
    """Position of its label in `PoisoningResult.labels`; -1 without one."""
    score: float
    """As in `Suspect`; 0 for a row that is not suspect."""


@dataclass(frozen=True, slots=True)
class PoisoningResult:
    """What a data set's rows say."""

    target: str
    """Its pinned reference."""
    rows: int
    """Rows that were read."""
    analysed: int
    """Rows that were analysed: fewer where a sample was drawn."""
    columns: Mapping[str, str]
    """Column to what it was taken for: label, text, number, category, vector, source, ignored."""
    labels: Mapping[str, int]
    """Label to analysed rows, most frequent first."""
    suspects: tuple[Suspect, ...]
    """Worst first, at most `Settings.shown`."""
    suspected: int
    """All rows with a reason."""
    counts: Mapping[str, int]
    """Kind of reason to rows."""
    groups: tuple[Group, ...]
    """Worst first."""
    scanned: TargetResult
    """The same as findings of files: what evidence, SARIF and gates are made of."""
    notes: tuple[str, ...] = ()
    """What was assumed and what could not be looked at."""
    compared: Comparison | None = None
    """The earlier versions, where some were given."""
    settings: Settings = field(default_factory=Settings)
    """As they were in force."""
    points: tuple[Point, ...] = ()
    """At most a few thousand rows, for the picture."""

    @property
    def files(self) -> tuple[FileResult, ...]:
        """Every file that was looked at."""
        return self.scanned.files


@dataclass(slots=True)
class Marks:
    """Reasons as they are collected, by position of the analysed row."""

    reasons: dict[int, list[Reason]] = field(default_factory=dict)
    """Position to what was found."""

    def add(self, position: int, kind: str, strength: float, text: str) -> None:
        """Note a reason; of two of one kind the stronger one stays."""
        kept = self.reasons.setdefault(int(position), [])
        made = Reason(kind, round(min(1.0, max(0.0, float(strength))), 4), text)
        for i, other in enumerate(kept):
            if other.kind == kind:
                kept[i] = max(other, made, key=lambda reason: reason.strength)
                return
        kept.append(made)
