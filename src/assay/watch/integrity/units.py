"""Did somebody change a unit? The window's numbers are the baseline's, times a known factor or moved by a known offset.

A factor is named only if the baseline explains the window well after the conversion and badly before: an ordinary shift
is left to drift. A single source that changed its unit among others moves part of a column only, and is drift, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.collect.profile.interface import Kind, Numeric, Profile
from assay.watch import columns
from assay.watch.integrity import distance
from assay.watch.interface import Check, Outcome

if TYPE_CHECKING:
    from assay.collect.profile.interface import Floats

_FAR, _NEAR = 0.3, 0.1
"""Distances (Kolmogorov-Smirnov) before the conversion at least, and after it at most."""
_GAIN = 3.0
"""How many times nearer the conversion must bring the window."""
_CLOSE, _WIDE = 0.05, 0.3
"""How far (in logarithms) an estimated factor may be from a known one: an ordinary shift is seldom tenfold."""
_ERRORS, _ROUNDING = 2.6, 0.005
"""Standard errors of the estimate that are allowed for, and what rounding may do beside."""
_COARSE = 0.2
"""Widest bin, in standard deviations of the window, whose quantiles are believed."""
_LARGEST = 1e150
"""Numbers beyond it measure nothing, and would overflow."""
_SHARES = tuple(0.05 * i for i in range(1, 20))
_LEVEL = 8.0
"""A column whose median is so many times its spread is judged by its level: nothing else resembles it."""
_LEVEL_ERROR = 0.01
"""Relative error of the factor there."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """``new = old * scale + offset``."""

    scale: float
    offset: float
    name: str


_FACTORS = (
    (1000.0, "thousands (kilo to base, seconds to milliseconds)"),
    (1e6, "millions (mega to base, seconds to microseconds)"),
    (1e9, "billions (giga to base, seconds to nanoseconds)"),
    (100.0, "hundreds (shares to percent, euros to cents, metres to centimetres)"),
    (10.0, "tens (centimetres to millimetres)"),
    (60.0, "sixty (minutes to seconds, hours to minutes)"),
    (3600.0, "3,600 (hours to seconds)"),
    (24.0, "24 (days to hours)"),
    (1440.0, "1,440 (days to minutes)"),
    (86400.0, "86,400 (days to seconds)"),
    (7.0, "seven (weeks to days)"),
    (12.0, "twelve (years to months, feet to inches)"),
    (1024.0, "1,024 (kibi to base)"),
    (1048576.0, "1,048,576 (mebi to base)"),
    (8.0, "eight (bytes to bits)"),
    (2.54, "2.54 (inches to centimetres)"),
    (25.4, "25.4 (inches to millimetres)"),
    (1 / 0.3048, "3.281 (metres to feet)"),
    (1 / 0.9144, "1.094 (metres to yards)"),
    (1.609344, "1.609 (miles to kilometres)"),
    (1.852, "1.852 (nautical miles to kilometres)"),
    (3.6, "3.6 (metres per second to kilometres per hour)"),
    (1 / 0.45359237, "2.205 (kilograms to pounds)"),
    (28.349523125, "28.35 (ounces to grams)"),
    (3.785411784, "3.785 (US gallons to litres)"),
    (4.184, "4.184 (kilocalories to kilojoules)"),
    (6.894757293168, "6.895 (psi to kilopascals)"),
    (1.01325, "1.013 (atmospheres to bar)"),
    (180 / math.pi, "57.3 (radians to degrees)"),
    (18.018, "18.02 (mmol/l to mg/dl of glucose)"),
)

CONVERSIONS: tuple[Conversion, ...] = (
    *(Conversion(factor, 0.0, f"times {name}") for factor, name in _FACTORS),
    *(Conversion(1 / factor, 0.0, f"divided by {name}") for factor, name in _FACTORS),
    Conversion(1.8, 32.0, "times 9/5 plus 32 (Celsius to Fahrenheit)"),
    Conversion(1 / 1.8, -32.0 / 1.8, "minus 32 times 5/9 (Fahrenheit to Celsius)"),
    Conversion(1.0, 273.15, "plus 273.15 (Celsius to kelvin)"),
    Conversion(1.0, -273.15, "minus 273.15 (kelvin to Celsius)"),
)
"""By the units' definitions; feet, yards and pounds are exact by the international agreement of 1959."""


def check(baseline: Profile, current: Profile, *, least_rows: int = 30) -> Iterator[Check]:
    """One check per column of numbers."""
    kinds = {column.name: column.kind for column in baseline.spec.columns}
    for name, before in baseline.columns.items():
        after = current.columns.get(name)
        if not isinstance(before, Numeric) or name in current.absent or kinds.get(name) is Kind.TIME:
            continue
        if columns.is_counter(before):
            continue  # goes on, and passes every factor on its way
        if not isinstance(after, Numeric) or min(before.count, after.count) < least_rows:
            yield Check("unit", Outcome.UNDECIDED, name, message=f"fewer than {least_rows:,} numbers to compare")
            continue
        found = conversion(before, after)
        if found is None:
            yield Check("unit", Outcome.HOLDS, name)
            continue
        measures = {"scale": found.scale, "offset": found.offset}
        message = f"the numbers are the baseline's {found.name}"
        yield Check("unit", Outcome.VIOLATED, name, "the baseline's unit", found.name, "error", message, measures)


def conversion(before: Numeric, after: Numeric) -> Conversion | None:
    """The conversion that makes the baseline explain the window, if there is one."""
    import numpy as np

    far = distance.numbers(before, after)
    if far is None or far < _FAR:
        return None
    old, new = columns.quantiles(before, np.array(_SHARES)), columns.quantiles(after, np.array(_SHARES))
    if max(abs(before.minimum), abs(before.maximum), abs(after.minimum), abs(after.maximum)) > _LARGEST:
        return None
    middle = len(_SHARES) // 2
    if abs(old[middle]) > _LEVEL * _spread(old) and abs(new[middle]) > _LEVEL * _spread(new):
        # Numbers close together far from 0, such as times: they move by nature, and nothing else moves so far.
        fits = [item for item in CONVERSIONS if not item.offset and abs(item.scale - 1) > 0.5]
        fits = [item for item in fits if abs(float(new[middle] / old[middle]) / item.scale - 1) <= _LEVEL_ERROR]
        return fits[0] if len(fits) == 1 else None
    error = (1 / before.count + 1 / after.count) ** 0.5
    if float((after.upper - after.lower)[int(after.counts.argmax())]) > _COARSE * after.std:
        return _by_moments(before, after, error)
    fits = [item for item in CONVERSIONS if _fits(old, new, item, error)]
    best = min(fits, key=lambda item: distance.numbers(before, after, item.scale, item.offset) or 0.0, default=None)
    if best is None:
        return None
    near = distance.numbers(before, after, best.scale, best.offset)
    if near is None or near > max(_NEAR, distance.noise(before, after)) or near * _GAIN > far:
        return None
    return best


def _by_moments(before: Numeric, after: Numeric, error: float) -> Conversion | None:
    """For numbers that shrank into a bin or two: mean and deviation are exact whatever the bins."""
    if not before.mean or not before.std or after.mean / before.mean <= 0 or not after.std:
        return None
    mean, deviation = math.log(after.mean / before.mean), math.log(after.std / before.std)
    allowed = min(_WIDE, _ERRORS * before.std / abs(before.mean) * error + _ROUNDING)
    fits = [
        (abs(mean - math.log(item.scale)), number)
        for number, item in enumerate(CONVERSIONS)
        if not item.offset
        and max(item.scale, 1 / item.scale) >= 10
        and abs(deviation - math.log(item.scale)) <= 2 * _WIDE
    ]
    if not fits or min(fits)[0] > allowed:
        return None
    # The likelier of two that are as good (1,000 before 1,024) is the one that the list has first.
    return CONVERSIONS[min(number for far, number in fits if far <= min(fits)[0] + _LEVEL_ERROR)]


def _spread(quantiles: Floats) -> float:
    """About a standard deviation of the numbers between the outer quantiles."""
    return float(quantiles.std())


def _fits(old: Floats, new: Floats, item: Conversion, error: float) -> bool:
    """Whether scale and place are those of the conversion, within what samples of this size can tell."""
    import numpy as np

    limit = _WIDE if max(item.scale, 1 / item.scale) >= 10 else _CLOSE
    if not item.offset and (old > 0).all() and (new > 0).all():
        ratios = np.log(new / (old * item.scale))
        return bool(abs(ratios.mean()) <= min(limit, _ERRORS * float(np.log(old).std()) * error + _ROUNDING))
    spread = _spread(old)
    if not spread or not _spread(new):
        return False
    if abs(math.log(_spread(new) / (spread * item.scale))) > min(limit, _ERRORS * error + _ROUNDING):
        return False
    moved = abs(float((new - (old * item.scale + item.offset)).mean()))
    return moved <= (_ERRORS * error + _ROUNDING) * spread * item.scale
