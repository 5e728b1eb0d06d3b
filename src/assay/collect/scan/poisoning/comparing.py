"""Earlier versions of the data set: which of its rows they have, and with which label.

A row is known by a digest of its contents, so that an earlier version of any size and format costs little memory. It
never says that an earlier version is to be believed: the caller holds its digest against what was attested.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from assay.collect.scan.models.judging import one_line
from assay.collect.scan.poisoning.interface import Comparison, Row, Version
from assay.collect.scan.poisoning.table import Cells, Table, content_key, read, shown
from assay.errors import UndecidedError
from assay.targets.interface import Target

MAX_KNOWN = 20_000_000
"""Different rows of all earlier versions together: about 3 GB of memory."""


@dataclass(slots=True)
class Known:
    """The rows of earlier versions."""

    left_out: frozenset[str]
    """Columns that are no part of what a row is: label, source, identifiers."""
    label: str | None
    """Column with the label."""
    versions: list[Version] = field(default_factory=list)
    """What was read so far."""
    _labels: dict[bytes, frozenset[str]] = field(default_factory=dict)
    _sets: dict[frozenset[str], frozenset[str]] = field(default_factory=dict)

    def add(self, version: Target) -> None:
        """Read an earlier version. Raises `UndecidedError` for one that cannot be read to its end."""
        table = read(version, sample=1, seed=b"", every=self._remember)
        # Digested after the reading: the caller, who digested it before, sees a change in between.
        contents = version.manifest(blake3=False).contents().hex()
        unread = [*table.broken.values(), *table.skipped.values()]
        if unread or not table.total:
            why = unread[0] if unread else "it has no rows"
            raise UndecidedError(f"the earlier version {version.name} cannot be compared with: {one_line(why, 300)}")
        self.versions.append(Version(version.name, contents, table.total))

    def _remember(self, _row: Row, cells: Cells) -> None:
        key = content_key(cells, self.left_out)
        labels = self._labels.get(key, frozenset()) | {self.named(cells)}
        # One object for equal sets: there are few of them, and as many rows as the data set has.
        self._labels[key] = self._sets.setdefault(labels, labels)
        if len(self._labels) > MAX_KNOWN:
            raise UndecidedError(f"the earlier versions have more than {MAX_KNOWN:,} different rows")

    def named(self, cells: Cells) -> str:
        """The label of a row as text; empty without one."""
        value = cells.get(self.label) if self.label is not None else None
        return "" if value is None else shown(value)[:200]

    def is_new(self, key: bytes) -> bool:
        """Whether no earlier version has the row."""
        return key not in self._labels

    def relabelled(self, key: bytes, label: str) -> bool:
        """Whether earlier versions have the row, and never with this label."""
        return self.label is not None and label not in self._labels.get(key, {label})


def known(versions: Iterable[Target], left_out: frozenset[str], label: str | None) -> Known:
    """All rows of ``versions``."""
    made = Known(left_out, label)
    for version in versions:
        made.add(version)
    return made


def draw(target: Target, known: Known, *, sample: int, seed: bytes) -> Table:
    """A sample of a large data set in which new and relabelled rows are at most a half, and all where they fit.

    A fair sample would hold few of them, and they are what is asked about.
    """

    def changed(cells: Cells) -> bool:
        key = content_key(cells, known.left_out)
        return known.is_new(key) or known.relabelled(key, known.named(cells))

    made = read(target, sample=sample // 2, seed=seed, wanted=changed)
    rest = read(target, sample=sample - len(made.rows), seed=seed, wanted=lambda cells: not changed(cells))
    made.keep(
        [*zip(made.order, made.rows, made.cells, strict=True), *zip(rest.order, rest.rows, rest.cells, strict=True)]
    )
    return made


def compare(known: Known, table: Table) -> tuple[Comparison, Any, Any]:
    """The comparison, and the positions of new and of relabelled rows."""
    import numpy as np

    keys = [content_key(cells, known.left_out) for cells in table.cells]
    new = np.array([i for i, key in enumerate(keys) if known.is_new(key)], dtype=np.int64)
    labels = [known.named(cells) for cells in table.cells]
    other = [i for i, key in enumerate(keys) if known.relabelled(key, labels[i])]
    relabelled = np.array(other, dtype=np.int64)
    return Comparison(tuple(known.versions), len(new), len(relabelled)), new, relabelled
