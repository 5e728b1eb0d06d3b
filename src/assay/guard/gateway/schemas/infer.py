"""A schema out of the profile of the training data: types, ranges, enumerations, and which values may be missing.

What the profile does not say (rare categories that it holds only as hashes) is left open and told, never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

from assay.collect.profile.interface import Categories, ColumnSpec, Kind, Numeric, Profile, Vectors
from assay.collect.profile.interface import Column as State
from assay.errors import DocumentError
from assay.guard.gateway.schemas.model import Column, Schema, Vector

MOST = 1000
"""Categories that are enumerated; a column with more is a text."""


def infer(
    profile: Profile, *, slack: float = 0.0, exclude: Collection[str] = (), rows: int | None = None
) -> tuple[Schema, list[str]]:
    """The schema, and sentences on what it leaves open.

    ``slack``: how far beyond their range numbers may lie, as a share of that range. ``exclude``: columns that requests
    do not have, such as the label; one that is not there is an error. Raises `DocumentError`.
    """
    if not math.isfinite(slack) or slack < 0:
        raise DocumentError("the slack is no share: it is 0 or more")
    if unknown := sorted(set(exclude) - {spec.name for spec in profile.spec.columns}):
        raise DocumentError(f"the profile has no column {unknown[0]!r} to leave out")
    notes: list[str] = []
    specs = [spec for spec in profile.spec.columns if spec.name not in exclude]
    states = [(spec, profile.columns[spec.name]) for spec in specs if spec.name in profile.columns]
    if len(states) == 1 and isinstance(states[0][1], Vectors):
        spec = states[0][0]
        notes.append(f"the profile holds no range of the numbers of {spec.name!r}: only their count is checked")
        vector = Vector(width=spec.dimensions, name=spec.name)
        return Schema(vector=vector, rows=rows, source=profile.digest), notes
    columns = tuple(_columns(states, slack, notes))
    if not columns:
        raise DocumentError("the profile has no columns that a request could be checked against")
    return Schema(columns=columns, rows=rows, source=profile.digest), notes


def _columns(states: Iterable[tuple[ColumnSpec, State]], slack: float, notes: list[str]) -> Iterable[Column]:
    for spec, state in states:
        if any(character in '"\\' or character < " " for character in spec.name):
            raise DocumentError(f"the name of column {spec.name!r} holds a quote or a control character")
        if isinstance(state, Numeric):
            yield _numeric(spec, state, slack)
        elif isinstance(state, Categories):
            yield _categories(spec, state, notes)
        else:
            raise DocumentError(
                f"column {spec.name!r} holds vectors beside other columns",
                hint="leave it out, or write the schema by hand",
            )


def _numeric(spec: ColumnSpec, state: Numeric, slack: float) -> Column:
    nullable = state.missing + state.nan > 0
    if spec.kind is Kind.TIME:
        return Column(name=spec.name, kind="text", max_length=64, nullable=nullable)
    if not state.count:
        return Column(name=spec.name, kind="number", nullable=True)
    extra = slack * (state.maximum - state.minimum)
    low, high = state.minimum - extra, state.maximum + extra
    # Whole by value, not by type: frames hold whole numbers with gaps as floats.
    if state.integral == state.count:
        return Column(
            name=spec.name, kind="integer", minimum=math.floor(low), maximum=math.ceil(high), nullable=nullable
        )
    return Column(name=spec.name, kind="number", minimum=low, maximum=high, nullable=nullable)


def _categories(spec: ColumnSpec, state: Categories, notes: list[str]) -> Column:
    nullable = state.missing > 0
    if spec.kind is Kind.BOOLEAN:
        return Column(name=spec.name, kind="boolean", nullable=nullable)
    if spec.kind is Kind.TEXT:
        lengths = state.lengths
        most = int(lengths.maximum) if lengths is not None and lengths.count else None
        return Column(name=spec.name, kind="text", max_length=most, nullable=nullable)
    known = sorted(state.labels.values())
    if state.exact and state.count and len(known) == state.distinct <= MOST:
        return Column(name=spec.name, kind="category", values=tuple(known), nullable=nullable)
    if state.count:
        notes.append(
            f"column {spec.name!r}: the profile shows {len(known)} of {state.distinct} values: any text is let through"
        )
    return Column(name=spec.name, kind="text", nullable=nullable or not state.count)
