"""``statistics.json`` from a profile and, approximately, back.

Ten buckets of equal width, and a KLL sketch that is cut from our histogram: 2,048 evenly spaced ranks, the same bytes
for the same profile. What is read back knows counts, moments and extremes as they were written, and the distribution as
well as sketch or buckets do; it is no state that could be merged.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from assay.collect.profile.interface import Categories, Column, ColumnSpec, Kind, Numeric, Profile, Spec, finite
from assay.errors import DocumentError
from assay.watch import columns
from assay.watch.columns import shown
from assay.watch.sagemaker.constraints import KINDS, TYPES
from assay.watch.sagemaker.documents import (
    Bucket,
    Categorical,
    Category,
    Common,
    Dataset,
    FeatureStatistics,
    Kll,
    NumberDistribution,
    NumericalStatistics,
    Sketch,
    Statistics,
    StringDistribution,
    StringStatistics,
    read,
    write,
)

if TYPE_CHECKING:
    from assay.collect.profile.interface import Floats

BUCKETS = 10
"""Fixed by the guide ("You can't change this")."""
SKETCH_SIZE, SHRINKING = 2048, 0.64
"""``k`` and ``c`` of the files that the service writes."""
_TRUSTED = 0.01
"""A sketch whose weights add up to its column's numbers within this is used; others are dummies."""


def dumps(profile: Profile) -> bytes:
    """The file. Columns of vectors have no statistics there."""
    kinds = {column.name: column.kind for column in profile.spec.columns}
    features = [_feature(name, kinds.get(name), state) for name, state in profile.columns.items()]
    return write(Statistics(version=0.0, dataset=Dataset(profile.rows), features=features))


def loads(data: bytes, name: str = "statistics.json") -> Profile:
    """A profile of what the file knows; its digest is empty. Raises `DocumentError`."""
    document = read(data, Statistics, name)
    rows = _whole(document.dataset.item_count, name)
    states: dict[str, Column] = {}
    specs: list[ColumnSpec] = []
    for feature in document.features:
        if feature.name in states:
            raise DocumentError(f"{name} names the feature {shown(feature.name)!r} twice")
        state = _state(feature, rows, f"{name}: {shown(feature.name)}")
        if state is not None:
            states[feature.name] = state
            specs.append(ColumnSpec(feature.name, KINDS[feature.inferred_type]))
    return Profile(Spec(tuple(specs)), rows, states)


def _feature(name: str, kind: Kind | None, state: Column) -> FeatureStatistics:
    if isinstance(state, Numeric):
        inferred = TYPES[kind] if kind is not None and kind.is_number else "Fractional"
        return FeatureStatistics(name, inferred, numerical_statistics=_numbers(state))
    if isinstance(state, Categories):
        return FeatureStatistics(name, "String", string_statistics=_strings(state))
    return FeatureStatistics(name, "Unknown")


def _common(state: Column) -> Common:
    return Common(columns.present(state), columns.missing(state))


def _numbers(state: Numeric) -> NumericalStatistics:
    if not state.count:
        return NumericalStatistics(_common(state))
    kll = Kll(_buckets(state), Sketch({"c": SHRINKING, "k": float(SKETCH_SIZE)}, sketch(state)))
    return NumericalStatistics(
        _common(state),
        state.mean,
        finite(state.total),
        state.std,
        state.minimum,
        state.maximum,
        NumberDistribution(kll),
    )


def _buckets(state: Numeric) -> list[Bucket]:
    import numpy as np

    bounds = [state.minimum + (state.maximum - state.minimum) * (i / BUCKETS) for i in range(BUCKETS)]
    bounds.append(state.maximum)
    if not math.isfinite(state.maximum - state.minimum):
        bounds = [state.minimum * (1 - i / BUCKETS) + state.maximum * (i / BUCKETS) for i in range(BUCKETS + 1)]
    below = columns.below(state, np.array(bounds))  # a bucket does not hold its upper bound, but for the last
    below[0], below[-1] = 0, state.count
    counts = np.diff(np.rint(below).astype(np.int64)).tolist()
    return [Bucket(bounds[i], bounds[i + 1], counts[i]) for i in range(BUCKETS)]


def sketch(state: Numeric) -> list[list[float]]:
    """Levels of a KLL sketch: an item of level h has the weight 2**h, and all weights add up to the count.

    The highest level has at most `SKETCH_SIZE` items at evenly spaced ranks; the remainder is one item at the middle
    of what is left over in each lower level that the count's binary digits ask for.
    """
    import numpy as np

    height = max(0, math.ceil(math.log2(state.count / SKETCH_SIZE))) if state.count > SKETCH_SIZE else 0
    weights = [1 << height] * (state.count >> height)
    weights += [1 << level for level in range(height - 1, -1, -1) if state.count >> level & 1]
    ends = np.cumsum(np.array(weights, dtype=np.float64))
    middles = ends - np.array(weights) / 2
    items = columns.quantiles(state, middles / state.count).tolist()
    levels: list[list[float]] = [[] for _ in range(height + 1)]
    for weight, item in zip(weights, items, strict=True):
        levels[weight.bit_length() - 1].append(item)
    return levels


def _strings(state: Categories) -> StringStatistics:
    named = [
        Category(state.labels[value], count)
        for value, count in zip(state.hashes.tolist(), state.counts.tolist(), strict=True)
        if value in state.labels
    ]
    named.sort(key=lambda item: (-item.count, item.value))
    return StringStatistics(_common(state), state.distinct, StringDistribution(Categorical(named)))


def _whole(value: float, name: str) -> int:
    if not 0 <= value < 1 << 63 or value != int(value):
        raise DocumentError(f"{name}: {value!r} is not a count")
    return int(value)


def _state(feature: FeatureStatistics, rows: int, name: str) -> Column | None:
    numbers, strings = feature.numerical_statistics, feature.string_statistics
    found = strings if strings is not None else numbers
    if found is None:
        return None
    common = found.common
    present, missing = _whole(common.num_present, name), _whole(common.num_missing, name)
    if present + missing > rows:
        raise DocumentError(f"{name}: {present:,} present and {missing:,} missing are more than {rows:,} rows")
    missing = rows - present
    if strings is not None:
        return _categories(strings, present, missing, name)
    assert numbers is not None
    return _numeric(numbers, present, missing, feature.inferred_type == "Integral", name)


def _numeric(found: NumericalStatistics, present: int, missing: int, whole: bool, name: str) -> Numeric:
    import numpy as np

    kll = found.distribution.kll if found.distribution is not None else None
    lower, upper, weights = _bins(kll or Kll(), name)
    scale = found.min is not None and found.max is not None
    if not len(weights) and present and scale:  # extremes are all that is known
        lower, upper, weights = np.array([found.min]), np.array([found.max]), np.array([1.0])
    count = present if len(weights) else 0
    low = found.min if found.min is not None else float(lower[0]) if count else math.nan
    high = found.max if found.max is not None else float(upper[-1]) if count else math.nan
    if count and (low > high or lower[0] < low - _near(low, high) or upper[-1] > high + _near(low, high)):
        raise DocumentError(f"{name}: the distribution is not between min and max")
    # Counts that are whole and add up: the cumulative weights, rounded.
    cumulative = np.rint(np.cumsum(weights) / weights.sum() * count) if count else weights
    return Numeric(
        count=count,
        missing=missing,
        nan=0,
        positive_infinity=0,
        negative_infinity=0,
        odd=present - count,
        mean=found.mean if found.mean is not None and count else math.nan,
        std=found.std_dev if found.std_dev is not None and count else math.nan,
        minimum=low if count else math.nan,
        maximum=high if count else math.nan,
        lower=lower,
        upper=upper,
        counts=np.diff(cumulative, prepend=0.0).astype(np.int64),
        distinct=len(weights),
        integral=count if whole else 0,
        total=found.sum if found.sum is not None and count else math.nan,
    )


def _near(low: float, high: float) -> float:
    """What two programs may round differently."""
    return 1e-9 * max(abs(low), abs(high), high - low)


def _bins(kll: Kll, name: str) -> tuple[Floats, Floats, Floats]:
    """Lower and upper ends and weights: the sketch's items if they can be believed, else the buckets."""
    import numpy as np

    buckets = [bucket for bucket in kll.buckets if bucket.count > 0]
    total = math.fsum(bucket.count for bucket in buckets)
    if kll.sketch is not None and len(kll.sketch.data) <= 64:
        weighted = [(item, 2.0**level) for level, items in enumerate(kll.sketch.data) for item in items]
        weight = math.fsum(item[1] for item in weighted)
        if weighted and total and abs(weight - total) <= _TRUSTED * total:
            values, inverse = np.unique(np.array([item[0] for item in weighted]), return_inverse=True)
            return values, values, np.bincount(inverse, [item[1] for item in weighted]).astype(np.float64)
    last = -math.inf
    for bucket in buckets:
        if bucket.lower_bound > bucket.upper_bound or bucket.lower_bound < last:
            raise DocumentError(f"{name}: the buckets are not in order")
        last = bucket.upper_bound
    lower, upper = (np.array([getattr(b, end) for b in buckets], float) for end in ("lower_bound", "upper_bound"))
    return lower, upper, np.array([bucket.count for bucket in buckets], float)


def _categories(found: StringStatistics, present: int, missing: int, name: str) -> Categories:
    import numpy as np

    categorical = found.distribution.categorical if found.distribution is not None else None
    named = categorical.buckets if categorical is not None else []
    if len({item.value for item in named}) != len(named):
        raise DocumentError(f"{name}: a category stands twice")
    counts = np.array([_whole(item.count, name) for item in named], np.int64)
    if counts.sum() > present:
        raise DocumentError(f"{name}: the categories are more than the values present")
    rest = present - int(counts.sum())  # what was too rare to be named is one key of its own
    if rest:
        counts = np.append(counts, rest)
    distinct = len(named) + bool(rest) if found.distinct_count is None else _whole(found.distinct_count, name)
    return Categories(
        count=present,
        missing=missing,
        odd=0,
        exact=not rest,
        hashes=np.arange(len(counts), dtype=np.uint64),
        counts=counts,
        labels={number: item.value for number, item in enumerate(named)},
        distinct=distinct,
        integral=sum(int(item.count) for item in named if _reads_as(item.value, int)),
        fractional=sum(
            int(item.count) for item in named if not _reads_as(item.value, int) and _reads_as(item.value, float)
        ),
    )


def _reads_as(text: str, kind: type[int] | type[float]) -> bool:
    try:
        return math.isfinite(kind(text))
    except (ValueError, OverflowError):
        return False
