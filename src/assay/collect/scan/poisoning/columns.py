"""A table's columns as numbers: what each is taken for, standardised, and reduced where there are many.

Numbers are standardised, short words become one column each, texts become TF-IDF reduced by a seeded SVD.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.collect.scan.poisoning.interface import Settings
from assay.collect.scan.poisoning.libraries import library
from assay.collect.scan.poisoning.table import Table, shown
from assay.errors import UsageError

Matrix = NDArray[np.float64]
Numbers = NDArray[np.int64]

WIDTH = 64
"""Dimensions that a text, or a matrix wider than this, is reduced to."""

_IDS = ("id", "idx", "index", "uuid", "row_id", "row")

WORD = re.compile(r"\w+", re.UNICODE)

MAX_CELLS = 20_000_000
"""Numbers in the matrix of one vector column: 160 MB."""

_EXACT = 1_024
"""Width up to which the single values of a vector may be a trigger."""

_MAXWORDS = 2_000
"""Words of one text that count."""


class Columns:
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
        if sum(len(WORD.findall(value[:1000])) for value in some[:1000]) >= 3 * len(some[:1000]):
            return self._text(values)
        kinds = Counter(cell_text(value) for value in there)
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
                hot[i, position[cell_text(value)]] = 1.0
        names = [f"{column}={name}" for name in sorted(kinds)]
        self._keep_exact(np.where(hot > 0, 1.0, np.nan), names, [(column, None)] * len(names))
        self._parts.append(hot)
        return "category"

    def _text(self, values: list[Any]) -> str:
        for words, value in zip(self.words, values, strict=True):
            if value is not None:
                words.extend(WORD.findall(whole_text(value).lower())[: _MAXWORDS - len(words)])
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
        """All columns side by side, reduced where they are many. Raises `UsageError` where there is none."""
        if not self._parts:
            raise UsageError("the data set has no column that rows could be compared by")
        made = np.hstack(self._parts)
        return reduced(made, self._seed) if made.shape[1] > 4 * WIDTH else made

    def exact(self) -> Matrix:
        """Numbers as they are, by `exact_names`."""
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


def whole_text(value: Any) -> str:
    """A cell as all of its text."""
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


def cell_text(value: Any) -> str:
    """A cell as a word: a class, a category."""
    return "" if value is None else shown(value)[:200]
