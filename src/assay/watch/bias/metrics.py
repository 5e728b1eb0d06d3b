"""SageMaker Clarify's bias metrics, by its short names, each with an interval.

All but two are functions of a table that counts facet by label by prediction, so an interval is had from draws of eight
numbers however many people there are. The formulas are those of the developer guide, "Pre-training Bias Metrics" and
"Post-training Data and Model Bias Metrics"; a quotient of 0 by 0 is undefined here, where the service reports 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from assay.watch.bias.interface import NOT_NEGATIVE, RATIOS, Bias, People, Question
from assay.watch.estimates import Estimate, plain, undefined

if TYPE_CHECKING:
    from assay.watch.bias.interface import Codes, Floats, Marks

CONFIDENCE = 0.999
"""Of an interval that decides: about twenty metrics are looked at in each window, so 0.95 would cry wolf in most."""
DRAWS = 10_000
MOST_NUMBERS = 4_000_000
"""Of all draws of a table; larger ones (thousands of strata) are drawn less often, at least 400 times."""
NEIGHBOURS = 5
"""Of the flip test; 1 where facet a has ten people or fewer, as in Clarify."""
MOST_FLIPPED = 10_000
"""The flip test looks at so many people of each facet, drawn at random."""


def measure(
    people: People, question: Question, *, confidence: float = CONFIDENCE, draws: int = DRAWS, seed: int = 0
) -> Bias:
    """All metrics that ``people`` have the columns for.

    Intervals are percentiles of ``draws`` from the posterior of the table under a weak prior (Jeffreys'). Distances are
    too large in every draw, so their lower end is reflected at the value. Without people in both facets everything is
    undefined.
    """
    import numpy as np

    disadvantaged, count = int(people.facet.sum()), len(people.facet)
    advantaged = count - disadvantaged
    found: dict[str, Estimate] = {}
    generator = np.random.default_rng(seed)
    tables = _tables(people)
    for table, formulas in tables:
        if not advantaged or not disadvantaged:
            reason = "nobody is in the facet" if not disadvantaged else "nobody is outside of the facet"
            found |= dict.fromkeys(formulas, undefined(reason, count))
            continue
        prior, rounds = min(0.5, 4 / table.size), max(400, min(draws, MOST_NUMBERS // table.size))
        drawn = generator.standard_gamma(table + prior, size=(rounds, *table.shape))
        for name, formula in formulas.items():
            with np.errstate(divide="ignore", invalid="ignore"):
                value, values = float(formula(table)), np.asarray(formula(drawn))
            found[name] = _estimate(name, value, values, count, confidence)
    if people.features is not None and people.predicted is not None:
        found["FT"] = _flip_test(people, generator, confidence)
    return Bias(question.facet.column, question.facet.text, count, disadvantaged, found, people.unusable)


def _estimate(name: str, value: float, draws: Floats, samples: int, confidence: float) -> Estimate:
    import numpy as np

    if not np.isfinite(value):
        return undefined("one of the facets has nobody to divide by", samples)
    draws = draws[np.isfinite(draws)]
    low, high = (float(end) for end in np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2]))
    if name in NOT_NEGATIVE:  # the draws lie too high, so the lower end is reflected; KL and JS grow with the square
        power = 0.5 if name in ("KL", "JS") else 1.0
        low = max(0.0, 2 * max(value, 0.0) ** power - high**power) ** (1 / power)
    return Estimate(value, min(low, value), max(high, value), samples)


_Formula = Callable[["Floats"], "Floats"]
_Tables = list[tuple["Floats", Mapping[str, _Formula]]]


def _tables(people: People) -> _Tables:
    """Tables of counts, facet d last on the first axis, and what is computed from each."""
    facet = (people.facet, 2)
    label = None if people.label is None else (people.label, 2)
    predicted = None if people.predicted is None else (people.predicted, 2)
    tables: _Tables = []
    if label is not None and predicted is not None:
        tables.append((_count(facet, label, predicted), _BOTH))
    elif label is not None:
        tables.append((_count(facet, label), _LABELS))
    elif predicted is not None:
        tables.append((_count(facet, predicted), _PREDICTIONS))
    else:
        tables.append((_count(facet), {"CI": _class_imbalance}))
    if label is not None:
        values = label if people.values is None else (people.values, int(people.values.max(initial=0)) + 1)
        tables.append((_count(facet, values), _DISTANCES))
    for name, outcome in (("CDDL", label), ("CDDPL", predicted)):
        if people.group is not None and outcome is not None:
            strata = (people.group, int(people.group.max(initial=0)) + 1)
            tables.append((_count(facet, outcome, strata), {name: _conditional_disparity}))
    return tables


def _count(*axes: tuple[Codes | Marks, int]) -> Floats:
    """A table with an axis for each array of codes, of so many values."""
    import numpy as np

    shape = [size for _, size in axes]
    flat = np.ravel_multi_index(tuple(codes.astype(np.int64) for codes, _ in axes), shape)
    table: Floats = np.bincount(flat, minlength=math.prod(shape)).astype(np.float64).reshape(shape)
    return table


def _class_imbalance(table: Floats) -> Floats:
    """CI = (na - nd) / (na + nd); ``table`` counts facets."""
    return (table[..., 0] - table[..., 1]) / (table[..., 0] + table[..., 1])


def _rates(table: Floats) -> Floats:
    """Share of the favourable outcome in each facet; ``table`` counts facets by outcomes."""
    rates: Floats = table[..., 1] / table.sum(axis=-1)
    return rates


def _difference(table: Floats) -> Floats:
    """DPL and DPPL = qa - qd."""
    rates = _rates(table)
    return rates[..., 0] - rates[..., 1]


def _impact(table: Floats) -> Floats:
    """DI = qd / qa."""
    rates = _rates(table)
    quotient: Floats = rates[..., 1] / rates[..., 0]
    return quotient


def _contrast(top: Floats, bottom: Floats) -> Floats:
    """Facet a's quotient less facet d's."""
    quotient = top / bottom
    return quotient[..., 0] - quotient[..., 1]


def _entropy(table: Floats) -> Floats:
    """GE, the generalised entropy index of the benefits b = prediction - label + 1, with alpha 2."""
    benefit = table[..., :, 1, 1] + table[..., :, 0, 0]
    once, twice = benefit.sum(axis=-1), table[..., :, 0, 1].sum(axis=-1)
    total = table.sum(axis=(-1, -2, -3))
    mean = (once + 2 * twice) / total
    index: Floats = ((once + 4 * twice) / total / mean**2 - 1) / 2
    return index


def _conditional_disparity(table: Floats) -> Floats:
    """CDD: facet d's share of the refused less its share of the accepted, in each stratum, weighted by their sizes.

    ``table`` counts facets by outcomes by strata. A stratum where nobody is refused (accepted) has 0 there.
    """
    import numpy as np

    outcomes = table.sum(axis=-3)
    shares = np.where(outcomes > 0, table[..., 1, :, :] / np.where(outcomes > 0, outcomes, 1), 0.0)
    sizes = outcomes.sum(axis=-2)
    result: Floats = (sizes * (shares[..., 0, :] - shares[..., 1, :])).sum(axis=-1) / sizes.sum(axis=-1)
    return result


def _divergence(one: Floats, other: Floats) -> Floats:
    import numpy as np

    terms = np.where(one > 0, one * np.log(np.where(one > 0, one, 1) / other), 0.0)
    result: Floats = terms.sum(axis=-1)
    return result


def _distributions(table: Floats) -> tuple[Floats, Floats]:
    shares = table / table.sum(axis=-1, keepdims=True)
    return shares[..., 0, :], shares[..., 1, :]


def _kullback_leibler(table: Floats) -> Floats:
    """KL(Pa || Pd) in nats; undefined where facet d lacks a value that facet a has."""
    return _divergence(*_distributions(table))


def _jensen_shannon(table: Floats) -> Floats:
    """JS, the divergence in nats."""
    one, other = _distributions(table)
    middle = (one + other) / 2
    return (_divergence(one, middle) + _divergence(other, middle)) / 2


def _norm(order: float) -> _Formula:
    """LP (order 2), KS (infinite), of the difference of the two distributions."""

    def norm(table: Floats) -> Floats:
        import numpy as np

        one, other = _distributions(table)
        length: Floats = np.linalg.norm(one - other, ord=order, axis=-1)
        return length

    return norm


def _total_variation(table: Floats) -> Floats:
    """TVD, half the L1 norm."""
    return _norm(1)(table) / 2


_LABELS: Mapping[str, _Formula] = {
    "CI": lambda table: _class_imbalance(table.sum(axis=-1)),
    "DPL": _difference,
}
_PREDICTIONS: Mapping[str, _Formula] = {
    "CI": lambda table: _class_imbalance(table.sum(axis=-1)),
    "DPPL": _difference,
    "DI": _impact,
}
_DISTANCES: Mapping[str, _Formula] = {
    "KL": _kullback_leibler,
    "JS": _jensen_shannon,
    "LP": _norm(2),
    "TVD": _total_variation,
    "KS": _norm(float("inf")),
}
_BOTH: Mapping[str, _Formula] = {
    # In t[..., facet, label, prediction]: 1 is facet d, the favourable label, the favourable prediction.
    "CI": lambda t: _class_imbalance(t.sum(axis=(-1, -2))),
    "DPL": lambda t: _difference(t.sum(axis=-1)),
    "DPPL": lambda t: _difference(t.sum(axis=-2)),
    "DI": lambda t: _impact(t.sum(axis=-2)),
    "DCAcc": lambda t: _contrast(t[..., 1, :].sum(axis=-1), t[..., :, 1].sum(axis=-1)),
    "DCR": lambda t: -_contrast(t[..., 0, :].sum(axis=-1), t[..., :, 0].sum(axis=-1)),
    "RD": lambda t: _contrast(t[..., 1, 1], t[..., 1, :].sum(axis=-1)),
    "SD": lambda t: -_contrast(t[..., 0, 0], t[..., 0, :].sum(axis=-1)),
    "DAR": lambda t: _contrast(t[..., 1, 1], t[..., :, 1].sum(axis=-1)),
    "DRR": lambda t: -_contrast(t[..., 0, 0], t[..., :, 0].sum(axis=-1)),
    "AD": lambda t: _contrast(t[..., 1, 1] + t[..., 0, 0], t.sum(axis=(-1, -2))),
    "TE": lambda t: -_contrast(t[..., 1, 0], t[..., 0, 1]),
    "GE": _entropy,
}


def _flip_test(people: People, generator: object, confidence: float) -> Estimate:
    """FT = (F+ - F-) / nd: would people of facet d have been decided otherwise as their neighbours in facet a were?

    F+ are those with the unfavourable prediction whose neighbours mostly have the favourable one, F- the reverse. The
    interval has the chance of facet d only.
    """
    import numpy as np
    from sklearn.neighbors import NearestNeighbors

    assert people.features is not None and people.predicted is not None
    assert isinstance(generator, np.random.Generator)
    inside, outside = np.flatnonzero(people.facet), np.flatnonzero(~people.facet)
    if not len(inside) or not len(outside):
        return undefined("one of the facets has nobody", len(people.facet))
    inside, outside = (
        generator.choice(rows, MOST_FLIPPED, replace=False) if len(rows) > MOST_FLIPPED else rows
        for rows in (inside, outside)
    )
    near = NearestNeighbors(n_neighbors=NEIGHBOURS if len(outside) > 10 else 1).fit(people.features[outside])
    neighbours = near.kneighbors(people.features[inside], return_distance=False)
    theirs = people.predicted[outside][neighbours].mean(axis=1) > 0.5
    flips = theirs.astype(np.float64) - people.predicted[inside]
    return plain(float(flips.mean()), float(flips.std()) / len(inside) ** 0.5, len(inside), confidence)


def distance(name: str, value: float) -> float:
    """How far from no bias, with its sign: from 0, for ratios the logarithm (0.5 and 2 are equally far from 1)."""
    if name not in RATIOS:
        return value
    return math.log(value) if value > 0 else -math.inf
