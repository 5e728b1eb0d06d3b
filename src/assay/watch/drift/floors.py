"""The noise that a column really has, learned from its baseline: what the laws for independent rows do not know.

`calibrate` draws windows from the baseline's own bins, seeded, and, given profiles of contiguous parts of the
baseline, learns by how much more these differ than independent rows would: traffic comes in bursts, days and sessions.
The result goes into the baseline file. It can only raise a floor, so that a wrong file hides drift and never invents
it: it has to be signed with the baseline.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from assay.errors import DocumentError
from assay.watch.drift.noise import power

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assay.collect.profile.interface import Profile
    from assay.watch.drift.settings import Settings

Curve = tuple[tuple[float, float], ...]
"""Window sizes, ascending, and a number for each."""

_LARGEST = 1e6


class ColumnFloors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was learned about one column."""

    design: dict[str, Curve] = {}
    """By test: how many rows of a window of this size are worth one independent row; at least 1."""
    drawn: dict[str, Curve] = {}
    """By distance: what the share `Floors.noise` of drawn windows exceed, over (1/n + 1/m) or its root."""


class Floors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was learned about the noise of a baseline; as JSON in the baseline file."""

    columns: dict[str, ColumnFloors]
    noise: float
    """Share of drawn windows above the floor."""
    version: int = 1

    def __post_init__(self) -> None:
        if self.version != 1:
            raise ValueError(f"version {self.version} of the floors is not known")
        if not 0.0 < self.noise < 1.0:
            raise ValueError("noise is no share")
        for column in self.columns.values():
            for least, curves in ((1.0, column.design), (0.0, column.drawn)):
                for curve in curves.values():
                    _require(curve, least)

    def factor(self, column: str, test: str, rows: int) -> float:
        """The design effect for a window of this size, 1 where nothing was learned."""
        known = self.columns.get(column)
        return max(1.0, _at(known.design.get(test, ()), rows, 1.0)) if known is not None else 1.0

    def floor(self, column: str, distance: str, before: int, after: int, *, test: str = "values") -> float:
        """The floor of a distance for windows of ``after`` against a baseline of ``before`` values; 0 if unknown."""
        known = self.columns.get(column)
        if known is None or distance not in known.drawn:
            return 0.0
        scale = (1.0 / before + 1.0 / after) * self.factor(column, test, after)
        return _at(known.drawn[distance], after, 0.0) * power(distance, scale)

    def encode(self) -> bytes:
        """As JSON, the same bytes for the same floors."""
        return msgspec.json.encode(self, order="sorted")


def decode(data: bytes) -> Floors:
    """Read `Floors.encode`'s bytes. Raises `DocumentError` for anything else."""
    try:
        return msgspec.json.decode(data, type=Floors)
    except (msgspec.MsgspecError, ValueError) as error:
        raise DocumentError(f"the noise floors of the baseline cannot be read: {error}") from None


def calibrate(
    baseline: Profile,
    parts: Sequence[Profile] = (),
    *,
    settings: Settings | None = None,
    sizes: Sequence[int] = (100, 1_000, 10_000, 100_000),
    draws: int = 400,
    seed: int = 0,
) -> Floors:
    """Learn the floors of a baseline; ``parts`` are profiles of contiguous parts of it in their order, of like size.

    Fewer than four parts teach nothing. Windows larger than the largest run of parts get that run's design effect.
    """
    from assay.watch.drift.calibration import design, drawn
    from assay.watch.drift.settings import Settings as Defaults

    chosen = settings or Defaults()
    learned = {}
    for number, (name, state) in enumerate(baseline.columns.items()):
        if name in chosen.ignore:
            continue
        curves = drawn(state, chosen, sizes, draws, (seed, number))
        learned[name] = ColumnFloors(design(name, parts), curves)
    return Floors(learned, chosen.noise)


def _at(curve: Curve, rows: int, nothing: float) -> float:
    """A curve's number at a size: straight between its points in the logarithm, level outside."""
    if not curve:
        return nothing
    if rows <= curve[0][0]:
        return curve[0][1]
    for (left, low), (right, high) in pairwise(curve):
        if rows <= right:
            return low + (high - low) * math.log(rows / left) / math.log(right / left)
    return curve[-1][1]


def _require(curve: Curve, least: float) -> None:
    sizes = [size for size, _ in curve]
    if any(size < 1.0 for size in sizes) or any(a >= b for a, b in pairwise(sizes)):
        raise ValueError("window sizes of a curve do not ascend")
    if not all(least <= number <= _LARGEST for _, number in curve):
        raise ValueError(f"a number of a curve is not between {least:g} and {_LARGEST:g}")
