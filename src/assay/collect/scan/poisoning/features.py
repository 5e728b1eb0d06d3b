"""Turns a table's cells into what the analyses need: class numbers, one dense matrix of moderate width, and items.

Numbers are standardised, short words become one column each, texts become TF-IDF reduced by a seeded SVD. Items are
the things that could be a trigger: a word, two words in a row, an exact value.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.collect.scan.models.judging import one_line
from assay.collect.scan.poisoning.interface import Settings
from assay.collect.scan.poisoning.libraries import library
from assay.collect.scan.poisoning.table import Cells, Table, shown
from assay.errors import UsageError

Matrix = NDArray[np.float64]
Numbers = NDArray[np.int64]

WIDTH = 64
"""Dimensions that a text, or a matrix wider than this, is reduced to."""

MAX_CLASSES = 1_000

_LABELS = ("label", "labels", "target", "class", "y")
_SOURCES = ("source", "contributor", "annotator", "annotator_id", "worker", "worker_id", "uploader", "author", "origin")
_IDS = ("id", "idx", "index", "uuid", "row_id", "row")
_WORD = re.compile(r"\w+", re.UNICODE)
MAX_CELLS = 20_000_000
"""Numbers in the matrix of one vector column: 160 MB."""

_EXACT = 1_024
"""Width up to which the single values of a vector may be a trigger."""

_MAX_WORDS = 2_000
"""Words of one text that count."""


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
    values = Counter(_text(cells.get(column)) for cells in table.cells)
    return 2 <= len(values) <= min(MAX_CLASSES, max(2, len(table.cells) // 5))


def build(table: Table, settings: Settings, seed: int) -> Features:
    """The features. Raises `UsageError` for a label that is no class, or where nothing is left to compare."""
    notes: list[str] = []
    label, source = roles(table, settings, notes)
    labels: list[str] = []
    y = np.full(len(table.rows), -1, dtype=np.int64)
    if label is not None:
        named = [_text(cells.get(label)) for cells in table.cells]
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
    made = _Columns(table, settings, {name for name in (label, source) if name is not None}, seed)
    notes.extend(made.notes)
    sources = [
        (_text(cells.get(source)) or "(none)") if source is not None else row.file
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
            return _Columns(part, self.settings, away, self.seed).matrix()
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
                text = _text_whole(made[column])
                made[column] = _WORD.sub(lambda word: "" if word[0].lower() in item.words else word[0], text)
        return made


def _text(value: Any) -> str:
    return "" if value is None else shown(value)[:200]


class _Columns:
    """Columns as they are turned into numbers."""

    def __init__(self, table: Table, settings: Settings, taken: set[str], seed: int) -> None:
        self._parts: list[Matrix] = []
        self._exact: list[Matrix] = []
        self._seed = seed
        self._rows = len(table.rows)
        self.exact_names: list[str] = []
        self.exact_at: list[tuple[str, int | None]] = []
        self.grids: list[tuple[int, int]] = []
        self.roles: dict[str, str] = {}
        self.notes: list[str] = []
        self.words: list[list[str]] = [[] for _ in table.rows]
        for column in table.columns:
            if column in taken:
                continue
            values = [cells.get(column) for cells in table.cells]
            self.roles[column] = "ignored" if column in settings.ignore else self._add(column, values, settings)
        if any(self.words):
            self._texts()

    def _add(self, column: str, values: list[Any], settings: Settings) -> str:
        there = [value for value in values if value is not None]
        strings = sum(isinstance(value, str) for value in there)
        if not there:
            return "ignored"
        if column in settings.text:
            return self._text(values)
        if not strings and all(isinstance(value, float) for value in there):
            return self._numbers(column, values)
        if not strings:
            return self._vectors(column, values)
        if strings < 0.05 * len(there):  # numbers with the odd word for "missing"
            return self._numbers(column, [value if isinstance(value, float) else None for value in values])
        some = [value for value in there if isinstance(value, str)]
        if sum(len(_WORD.findall(value[:1000])) for value in some[:1000]) >= 3 * len(some[:1000]):
            return self._text(values)
        kinds = Counter(_text(value) for value in there)
        if len(kinds) <= max(50, self._rows // 50) and len(kinds) <= 500:
            return self._categories(column, values, kinds)
        self.notes.append(f"the column {column[:60]!r} has too many different words to be a category: ignored")
        return "ignored"

    def _numbers(self, column: str, values: list[Any]) -> str:
        raw = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        steps = np.diff(raw)
        if column.lower() in _IDS or (len(steps) > 10 and steps.size and bool(np.all(steps == steps[0])) and steps[0]):
            self.notes.append(f"the column {column[:60]!r} counts rows: ignored")
            return "ignored"
        self._keep_exact(raw[:, None], [column], [(column, None)])
        self._parts.append(_standard(raw[:, None]))
        return "number"

    def _vectors(self, column: str, values: list[Any]) -> str:
        widths = Counter(len(value) for value in values if hasattr(value, "__len__"))
        width = widths.most_common(1)[0][0]
        fold = _Fold(width, max(WIDTH, MAX_CELLS // self._rows), self._seed)
        raw = np.full((self._rows, fold.width), np.nan)
        odd = 0
        for i, value in enumerate(values):
            if hasattr(value, "__len__") and not isinstance(value, str) and len(value) == width:
                raw[i] = fold(value)
            else:
                odd += value is not None
        if odd:
            self.notes.append(f"{odd:,} rows of {column[:60]!r} have another length than {width:,}: taken as missing")
        start = len(self.exact_names)
        if width <= _EXACT and fold.width == width:
            self._keep_exact(raw, [f"{column}[{i}]" for i in range(width)], [(column, i) for i in range(width)])
            self.grids.append((start, start + width))
        self._parts.append(reduced(_standard(raw, together=True), self._seed))
        return "vector"

    def _categories(self, column: str, values: list[Any], kinds: Counter[str]) -> str:
        position = {name: i for i, name in enumerate(sorted(kinds))}
        hot = np.zeros((self._rows, len(position)))
        for i, value in enumerate(values):
            if value is not None:
                hot[i, position[_text(value)]] = 1.0
        names = [f"{column}={name}" for name in sorted(kinds)]
        self._keep_exact(np.where(hot > 0, 1.0, np.nan), names, [(column, None)] * len(names))
        self._parts.append(hot)
        return "category"

    def _text(self, values: list[Any]) -> str:
        for words, value in zip(self.words, values, strict=True):
            if value is not None:
                words.extend(_WORD.findall(_text_whole(value).lower())[: _MAX_WORDS - len(words)])
        return "text"

    def _keep_exact(self, raw: Matrix, names: list[str], places: list[tuple[str, int | None]]) -> None:
        self._exact.append(raw)
        self.exact_names.extend(names)
        self.exact_at.extend(places)

    def _texts(self) -> None:
        vectors = library("sklearn.feature_extraction.text").TfidfVectorizer(
            analyzer=lambda words: words, sublinear_tf=True, min_df=min(2, self._rows), max_features=50_000
        )
        try:
            sparse = vectors.fit_transform(self.words)
        except ValueError:  # no word is there twice
            return
        wide = min(WIDTH, sparse.shape[1] - 1, self._rows - 1)
        if wide < 1:
            self._parts.append(sparse.toarray())
            return
        svd = library("sklearn.decomposition").TruncatedSVD(wide, random_state=self._seed)
        dense = svd.fit_transform(sparse)
        spread = np.sqrt((dense**2).mean()) or 1.0
        self._parts.append(dense / spread)

    def matrix(self) -> Matrix:
        if not self._parts:
            raise UsageError("the data set has no column that rows could be compared by")
        made = np.hstack(self._parts)
        return reduced(made, self._seed) if made.shape[1] > 4 * WIDTH else made

    def exact(self) -> Matrix:
        return np.hstack(self._exact) if self._exact else np.empty((self._rows, 0))


class _Fold:
    """Makes very wide vectors narrower and keeps distances nearly: each number is added to, or taken from, one sum.

    Source: the count sketch of Charikar, Chen and Farach-Colton (2002). What is narrow enough stays as it is.
    """

    def __init__(self, width: int, most: int, seed: int) -> None:
        self.width = min(width, most)
        draw = np.random.default_rng(seed)
        self._place = None if width <= most else draw.integers(0, most, width)
        self._sign = draw.choice((-1.0, 1.0), width)

    def __call__(self, value: Any) -> Matrix:
        row = np.asarray(value, dtype=np.float64)
        if self._place is None:
            return row
        folded: Matrix = np.bincount(self._place, self._sign * np.nan_to_num(row), self.width).astype(np.float64)
        return folded


def _text_whole(value: Any) -> str:
    return value if isinstance(value, str) else shown(value)


def _standard(raw: Matrix, *, together: bool = False) -> Matrix:
    """Zero mean and unit spread, missing values in the middle, nothing beyond ten spreads.

    ``together``: one spread for all columns, since those of a vector share their unit.
    """
    raw = np.where(np.isfinite(raw), np.clip(raw, -1e150, 1e150), np.nan)
    there = ~np.isnan(raw)
    count = np.maximum(there.sum(axis=0), 1)
    filled = np.where(there, raw, 0.0)
    mean = (filled / count).sum(axis=0)
    centred = np.where(there, raw - mean, 0.0)
    largest = np.maximum(np.abs(centred).max(axis=0, initial=0.0), 1e-300)
    if together:
        largest = np.full_like(largest, largest.max(initial=1e-300))
    scaled = centred / largest
    spread = np.sqrt((scaled**2).sum(axis=0) / count)
    if together:
        spread = np.full_like(spread, np.sqrt((spread**2).mean()))
    made: Matrix = np.clip(scaled / np.where(spread > 1e-12, spread, 1.0), -10.0, 10.0)
    return made


def reduced(matrix: Matrix, seed: int) -> Matrix:
    """The first principal components, where there are many columns."""
    width = min(WIDTH, matrix.shape[0] - 1)
    if matrix.shape[1] <= WIDTH or width < 1:
        return matrix
    made: Matrix = (
        library("sklearn.decomposition").PCA(width, svd_solver="randomized", random_state=seed).fit_transform(matrix)
    )
    return made
