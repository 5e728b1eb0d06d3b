"""Tables with columns of text (a job, a region) as numbers that attacks can move, and back as what a caller can send.

Each text column becomes one column for each value that the training data have (one-hot). Nothing between two values can
be sent: a row is one value, whatever an attack made of its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.errors import UsageError

if TYPE_CHECKING:
    import polars

MOST = 100
"""Values of a text column; one with more is no category but a name or a free text."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """Columns of a table, in their order, each with its values, or with none where it is a number."""

    columns: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the encoded columns: ``age``, ``job=clerk``, ``job=farmer``."""
        return tuple(
            label for name, values in self.columns for label in ([f"{name}={one}" for one in values] or [name])
        )

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Places of each text column's values among the encoded columns."""
        found, at = [], 0
        for _, values in self.columns:
            if values:
                found.append(tuple(range(at, at + len(values))))
            at += len(values) or 1
        return tuple(found)

    @property
    def numbers(self) -> int:
        """How many columns are numbers."""
        return len(self.columns) - len(self.groups)

    def rows(self, frame: polars.DataFrame) -> np.ndarray:
        """Encoded rows, float64; not finite where a number is missing or a text is none of the values. Raises
        `UsageError` for a table whose column is a text where the training data had a number.
        """
        parts: list[np.ndarray] = []
        for name, values in self.columns:
            if not values:
                if not _number(frame.schema[name]):
                    raise UsageError(f"the column {name[:100]!r} is no number here, and is one in the training data")
                parts.append(frame[name].cast(float).fill_null(np.nan).to_numpy().reshape(-1, 1))
                continue
            known = dict(zip(values, np.eye(len(values)), strict=True))
            nothing = np.full(len(values), np.nan)
            parts.append(np.array([known.get(text, nothing) for text in frame[name].cast(str).to_list()]))
        return np.concatenate(parts, axis=1)

    def frame(self, rows: np.ndarray) -> Any:
        """As a table with its own columns again: pandas', where it is there, as models are mostly trained on those."""
        made: dict[str, Any] = {}
        at = 0
        for name, values in self.columns:
            width = len(values) or 1
            part = rows[:, at : at + width]
            made[name] = np.array(values, dtype=object)[part.argmax(axis=1)] if values else part[:, 0]
            at += width
        try:
            import pandas
        except ImportError:
            import polars

            return polars.DataFrame({name: column.tolist() for name, column in made.items()})
        return pandas.DataFrame(made)


def snapped(rows: np.ndarray, groups: Sequence[tuple[int, ...]]) -> np.ndarray:
    """``rows`` with exactly one 1 in each group: where its number is largest."""
    if not groups:
        return rows
    made = rows.copy()
    for group in groups:
        part = rows[:, list(group)]
        made[:, list(group)] = np.eye(len(group))[part.argmax(axis=1)]
    return made


def _number(kind: Any) -> bool:
    import polars

    return bool(kind.is_numeric() or kind == polars.Boolean)


def encoding_of(frame: polars.DataFrame, names: Sequence[str]) -> Encoding:
    """The encoding of these columns of the training data. Raises `UsageError` for one that cannot be a category."""
    import polars

    columns: list[tuple[str, tuple[str, ...]]] = []
    for name in names:
        kind = frame.schema[name]
        if _number(kind):
            columns.append((name, ()))
            continue
        if kind not in (polars.String, polars.Categorical, polars.Enum):
            raise UsageError(
                f"the column {name[:100]!r} is neither a number nor a text", hint="leave it out of the model"
            )
        values = tuple(sorted(frame[name].drop_nulls().cast(str).unique().to_list()))
        if not 1 <= len(values) <= MOST:
            raise UsageError(
                f"the column {name[:100]!r} has {len(values):,} different texts, and a category has 1 to {MOST}",
                hint="simulate the last step of the pipeline on the encoded columns",
            )
        columns.append((name, values))
    return Encoding(tuple(columns))
