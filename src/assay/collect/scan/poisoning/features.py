"""Turns a table's cells into what the analyses need: class numbers, one dense matrix of moderate width, and items.

Items are the things that could be a trigger: a word, two words in a row, an exact value.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from assay.collect.scan.models.judging import one_line
from assay.collect.scan.poisoning.columns import WORD, Columns, Matrix, Numbers, cell_text, whole_text
from assay.collect.scan.poisoning.interface import Settings
from assay.collect.scan.poisoning.table import Cells, Table
from assay.errors import UsageError

MAX_CLASSES = 1_000

_LABELS = ("label", "labels", "target", "class", "y")
_SOURCES = ("source", "contributor", "annotator", "annotator_id", "worker", "worker_id", "uploader", "author", "origin")


@dataclass(slots=True)
class Features:
    """What is known of the rows, by position."""

    matrix: Matrix
    """One row each, finite."""
    y: Numbers
    """Class, -1 for a row without a label."""
    labels: list[str]
    """Class number to name."""
    sources: list[str]
    """Who contributed each row."""
    words: list[list[str]]
    """Words of each row's texts, lower case; empty lists without text."""
    exact: Matrix
    """Numbers as they are, for exact values; as many columns as ``exact_names``."""
    exact_names: list[str]
    exact_at: list[tuple[str, int | None]]
    """Column of each of them, and its place in a vector."""
    grids: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of columns of ``exact`` that came from one vector: pixels, embeddings."""
    roles: dict[str, str] = field(default_factory=dict)
    """Column to what it was taken for."""
    left_out: frozenset[str] = frozenset()
    """Columns that are no content: label, source, identifiers."""
    notes: list[str] = field(default_factory=list)


def roles(table: Table, settings: Settings, notes: list[str]) -> tuple[str | None, str | None]:
    """The columns with label and source.

    Raises `UsageError` for a column that was named and is not there, and where several could be the label.
    """
    lower = {column.lower(): column for column in reversed(table.columns)}
    for column in (settings.label or None, settings.source, *settings.text, *settings.ignore):
        if column is not None and column not in table.columns:
            listed = ", ".join(one_line(name, 40) for name in table.columns[:20])
            raise UsageError(f"the data set has no column {column!r}", hint=f"its columns: {listed}")
    label = settings.label if settings.label is not None else _guessed(table, settings, notes)
    if not label:
        notes.append("no column was taken for the label: wrong labels and triggers were not looked for")
    source = settings.source
    if source is None:
        source = next((lower[name] for name in _SOURCES if name in lower and lower[name] != label), None)
        if source is not None:
            notes.append(f"the column {source!r} was taken for who contributed a row")
    return label or None, source


def _guessed(table: Table, settings: Settings, notes: list[str]) -> str | None:
    """The one column that is called like a label and has few values; with two of them nobody guesses."""
    named = (settings.source, *settings.text, *settings.ignore)
    plausible = [name for name in table.columns if name.lower() in _LABELS and name not in named]
    plausible = [name for name in plausible if _is_label(table, name)]
    if len(plausible) > 1:
        listed = ", ".join(repr(one_line(name, 40)) for name in plausible)
        raise UsageError(
            f"several columns could be the label: {listed}",
            hint="name it: --label COLUMN, or label= from Python (an empty one where there is none)",
        )
    if plausible:
        notes.append(f"the column {plausible[0]!r} was taken for the label")
        return plausible[0]
    return None


def _is_label(table: Table, column: str) -> bool:
    values = Counter(cell_text(cells.get(column)) for cells in table.cells)
    return 2 <= len(values) <= min(MAX_CLASSES, max(2, len(table.cells) // 5))


def build(table: Table, settings: Settings, seed: int) -> Features:
    """The features. Raises `UsageError` for a label that is no class, or where nothing is left to compare."""
    notes: list[str] = []
    label, source = roles(table, settings, notes)
    labels: list[str] = []
    y = np.full(len(table.rows), -1, dtype=np.int64)
    if label is not None:
        named = [cell_text(cells.get(label)) for cells in table.cells]
        counted = Counter(filter(None, named))
        labels = sorted(counted, key=lambda name: (-counted[name], name))
        if len(labels) > min(MAX_CLASSES, max(2, len(table.rows) // 2)):
            raise UsageError(
                f"the column {label!r} has {len(labels):,} values in {len(table.rows):,} rows: it is no class",
                hint="name the column with the classes, or put numbers into ranges first",
            )
        position = {name: i for i, name in enumerate(labels)}
        y = np.array([position.get(name, -1) for name in named], dtype=np.int64)
        if missing := int((y < 0).sum()):
            notes.append(f"{missing:,} rows have no label: they are compared, and no label of theirs is judged")
    made = Columns(table, settings, {name for name in (label, source) if name is not None}, seed)
    notes.extend(made.notes)
    sources = [
        (cell_text(cells.get(source)) or "(none)") if source is not None else row.file
        for row, cells in zip(table.rows, table.cells, strict=True)
    ]
    taken = dict(made.roles)
    if label is not None:
        taken[label] = "label"
    if source is not None:
        taken[source] = "source"
    away = frozenset(name for name, role in taken.items() if role in ("label", "source", "ignored"))
    return Features(
        made.matrix(),
        y,
        labels,
        sources,
        made.words,
        made.exact(),
        made.exact_names,
        made.exact_at,
        made.grids,
        taken,
        away,
        notes,
    )


@dataclass(frozen=True, slots=True)
class Item:
    """What rows may have in common."""

    name: str
    """Printable."""
    words: frozenset[str] = frozenset()
    """Words of texts."""
    cells: tuple[tuple[str, int | None], ...] = ()
    """Columns, and places in vectors."""


@dataclass(frozen=True, slots=True)
class Masked:
    """The rows as they are without some item, to be asked what else speaks for their labels."""

    table: Table
    settings: Settings
    features: Features
    seed: int

    def __call__(self, rows: Numbers, item: Item) -> Matrix | None:
        """The matrix of some rows without ``item``; None where nothing else is left of them."""
        cells = [self._without(self.table.cells[i], item) for i in rows.tolist()]
        part = Table(rows=[self.table.rows[i] for i in rows.tolist()], cells=cells, columns=self.table.columns)
        away = {name for name in self.features.left_out if name not in self.settings.ignore}
        try:
            return Columns(part, self.settings, away, self.seed).matrix()
        except UsageError:
            return None

    def _without(self, cells: Cells, item: Item) -> Cells:
        made = dict(cells)
        for column, place in item.cells:
            if place is None:
                made[column] = None
            elif hasattr(made.get(column), "__len__"):
                made[column] = np.array(made[column], dtype=np.float64)
                made[column][place] = np.nan
        for column, role in self.features.roles.items() if item.words else ():
            if role == "text" and made.get(column) is not None:
                text = whole_text(made[column])
                made[column] = WORD.sub(lambda word: "" if word[0].lower() in item.words else word[0], text)
        return made
