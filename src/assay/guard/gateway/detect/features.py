"""What one query looks like to the detectors: a few numbers, from one matrix product.

A `Space` is made from training rows and says how far a query is from them. It must never raise on what a stranger
sends: NaN, infinities and huge values become large finite distances.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from assay.guard.gateway.interface import Table

COMPONENTS = 16
"""Most principal components that a query is remembered by."""
CENTROIDS = 64
"""Most training centroids."""
FULL = 128
"""Most columns for which what the components do not explain is weighed by direction; beyond, all weigh the same."""
STILL = 0.02
"""Variance (of scaled columns) that honest noise may have where training rows have none."""
CLIP = 5.0
"""Standard deviations beyond which a value counts as this far, so that one odd column does not speak for the row; NaN
does, in a column that never was empty.
"""
VALUES = 256
"""Most values of a text column that are known by name."""


@dataclass(frozen=True, slots=True)
class TextColumn:
    """How often the values of a column of text came in the training rows."""

    name: str
    surprise: Mapping[str, float]
    """Minus the logarithm of a value's share, by the digest that `code` gives."""
    unknown: float
    """The same for a value that is not among them."""


@dataclass(frozen=True, slots=True)
class Space:
    """Scaling, components and centroids. Columns are those of the table, then two for each column of text."""

    centre: np.ndarray
    """float64, one a column."""
    inverse: np.ndarray
    """float64: one over the scale."""
    missing: np.ndarray
    """bool: columns that were empty in training rows too."""
    matrix: np.ndarray
    """float32, columns by (components + rest + centroids)."""
    components: int
    inner: int
    """How many of the components count as explained: what is left is the residual."""
    rest: int
    """Directions of the residual, each divided by its standard deviation; 0: the residual is not weighed."""
    half: np.ndarray
    """float32: half the squared length of each centroid."""
    texts: tuple[TextColumn, ...] = ()
    names: tuple[str, ...] = ()
    """Of the table's columns; empty where the training rows had none."""
    width: int = field(init=False)
    """Columns of a table's matrix that this space is for."""
    any_missing: bool = field(init=False)
    lower: np.ndarray = field(init=False)
    """What is below counts as this, in the table's own units."""
    upper: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", len(self.centre) - 2 * len(self.texts))
        object.__setattr__(self, "any_missing", bool(self.missing.any()))
        object.__setattr__(self, "lower", self.centre - CLIP / self.inverse)
        object.__setattr__(self, "upper", self.centre + CLIP / self.inverse)

    def aligned(self, table: Table) -> Table:
        """The table with the columns of the training rows in their order, where both have names: callers say them in
        any order, leave some out (they are empty then), and may send others that the model never looks at.
        """
        names = self.names
        if table.names == names or not names or table.features.shape[1:] != (len(table.names),):
            return table
        places = {name: i for i, name in enumerate(table.names)}
        if places.keys().isdisjoint(names):
            return table
        features = np.full((len(table.features), len(names)), np.nan)
        for i, name in enumerate(names):
            if (place := places.get(name)) is not None:
                features[:, i] = table.features[:, place]
        return Table(features, names, {name: table.text[name] for name in names if name in table.text})

    def fits(self, table: Table) -> bool:
        """Whether the table has the columns that the space was made from."""
        shape = table.features.shape
        if len(shape) != 2 or shape[1] != self.width:
            return False
        return not self.texts or all(column.name in table.text or column.name in table.names for column in self.texts)

    def rows(self, table: Table) -> np.ndarray:
        """The table's columns and those of its texts, float64, not scaled."""
        return with_texts(table, self.texts) if self.texts else table.features

    def scaled(self, rows: np.ndarray) -> np.ndarray:
        """float32 in standard deviations, finite."""
        # Cut before scaling, so that nothing overflows; fmin takes the number where the other is NaN.
        scaled = (np.fmax(np.fmin(rows, self.upper), self.lower) - self.centre) * self.inverse
        if self.any_missing:
            scaled[np.isnan(rows) & self.missing] = 0.0
        return np.asarray(scaled, dtype=np.float32)

    def look(self, scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates (rows by components), their squared lengths, squared distances to the nearest centroid, and
        squared residuals, of scaled rows.
        """
        product = scaled @ self.matrix
        coordinates = product[:, : self.components]
        squares = np.einsum("ij,ij->i", scaled, scaled)
        lengths = np.einsum("ij,ij->i", coordinates, coordinates)
        outlying = squares - 2.0 * (product[:, self.components + self.rest :] - self.half).max(axis=1)
        if self.rest:
            rest = product[:, self.components : self.components + self.rest]
            return coordinates, lengths, outlying, np.einsum("ij,ij->i", rest, rest)
        inner = coordinates[:, : self.inner]
        return coordinates, lengths, outlying, squares - np.einsum("ij,ij->i", inner, inner)


def code(value: str) -> str:
    """A short digest of a text: the calibration keeps no words of the training data."""
    return hashlib.blake2b(value[:4096].encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def with_texts(table: Table, texts: Sequence[TextColumn]) -> np.ndarray:
    """The table's matrix with two columns for each column of text: how rare the value is, and which it is. A text that
    is missing is an empty one.
    """
    count = len(table.features)
    of_text = {text.name for text in texts}.union(table.text)
    columns = (
        [
            np.nan_to_num(table.features[:, i]) if name in of_text else table.features[:, i]
            for i, name in enumerate(table.names)
        ]
        if table.names
        else list(table.features.T)
    )
    for text in texts:
        rare, which = np.full(count, text.unknown), np.zeros(count)
        for i, value in enumerate(list(table.text.get(text.name) or [""] * count)[:count]):
            digest = code(str(value))
            rare[i] = text.surprise.get(digest, text.unknown)
            which[i] = int(digest, 16) / 2.0**47 - 1.0
        columns += [rare, which]
    return np.column_stack(columns) if columns else np.zeros((count, 0))


def text_columns(table: Table) -> tuple[TextColumn, ...]:
    """The texts of training rows, their most common values by digest."""
    found = []
    for name, values in table.text.items():
        counted: dict[str, int] = {}
        for value in values:
            digest = code(str(value))
            counted[digest] = counted.get(digest, 0) + 1
        total = max(len(values), 1)
        common = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:VALUES]
        unknown = math.log(total) + 2.0
        found.append(TextColumn(name, {digest: -math.log(n / total) for digest, n in common}, unknown))
    return tuple(found)


def fit(reference: Table, seed: int = 0) -> Space:
    """A space from training rows (at least 20 of them; 1,000 are plenty). Pure for a given seed."""
    texts = text_columns(reference)
    rows = np.asarray(with_texts(reference, texts) if texts else reference.features, dtype=np.float64)
    rows = np.where(np.isfinite(rows), rows, np.nan)
    missing = np.asarray(np.isnan(rows).any(axis=0))
    empty = np.isnan(rows).all(axis=0)
    centre = np.where(empty, 0.0, np.nanmean(np.where(empty, 0.0, rows), axis=0))
    spread = np.nanstd(np.where(empty, 0.0, rows), axis=0)
    positive = spread[spread > 0]
    reach = np.nan_to_num(np.nanmax(np.where(empty, 0.0, rows), axis=0) - np.nanmin(np.where(empty, 0.0, rows), axis=0))
    # A column that hardly ever changes must not outweigh all others as soon as it does.
    scale = np.maximum(spread, reach / 8.0)
    inverse = 1.0 / np.where(scale > 0, scale, np.median(positive) if len(positive) else 1.0)
    whole = Space(centre, inverse, missing, np.zeros((0, 0), np.float32), 0, 0, 0, np.zeros(0, np.float32))
    scaled = whole.scaled(rows).astype(np.float64)
    width = scaled.shape[1]
    variances, vectors = np.linalg.eigh(np.cov(scaled, rowvar=False).reshape(width, width))
    variances, vectors = np.maximum(variances[::-1], 0.0), vectors[:, ::-1]
    components, inner = min(COMPONENTS, width), min(COMPONENTS, max(1, width // 2))
    rest = vectors[:, inner:] / np.sqrt(variances[inner:] + STILL) if width <= FULL else vectors[:, :0]
    middles = _centroids(scaled, min(CENTROIDS, max(1, len(scaled) // 4)), seed)
    matrix = np.ascontiguousarray(np.hstack([vectors[:, :components], rest, middles.T]), dtype=np.float32)
    half = (0.5 * (middles**2).sum(axis=1)).astype(np.float32)
    return Space(centre, inverse, missing, matrix, components, inner, rest.shape[1], half, texts, reference.names)


def _centroids(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Lloyd's algorithm from k-means++ starts, 20 rounds: good enough to say what is far from all of them."""
    draw = np.random.default_rng(seed)
    chosen = [rows[draw.integers(len(rows))]]
    nearest = ((rows - chosen[0]) ** 2).sum(axis=1)
    for _ in range(count - 1):
        total = nearest.sum()
        index = draw.choice(len(rows), p=nearest / total) if total > 0 else draw.integers(len(rows))
        chosen.append(rows[index])
        nearest = np.minimum(nearest, ((rows - chosen[-1]) ** 2).sum(axis=1))
    middles = np.array(chosen)
    for _ in range(20):
        squares = (middles**2).sum(axis=1)
        belongs = (rows @ middles.T - 0.5 * squares).argmax(axis=1)
        sums = np.zeros_like(middles)
        np.add.at(sums, belongs, rows)
        counts = np.bincount(belongs, minlength=count)
        middles = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], middles)
    return middles
