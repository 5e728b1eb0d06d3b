"""How likely chance alone goes so far: p-values of one column's tests, from the asymptotic laws.

Uses ``scipy.special`` only, because ``scipy.stats`` takes a second to import. A p-value here never decides alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import betainc, chdtrc, kolmogorov, smirnov


def kolmogorov_p(distance: float, effective: float) -> float:
    """Two-sided p-value of a two-sample Kolmogorov-Smirnov distance.

    ``effective`` is ``n m / (n + m)``. The limit law at a corrected argument (Vrbik 2018, "Small-sample corrections
    to Kolmogorov-Smirnov test statistic"), in the tail of small samples twice the one-sided law; within 1 % of SciPy's
    asymptotic two-sample test.
    """
    if effective <= 0:
        return 1.0
    root = math.sqrt(effective)
    scaled = distance * root
    if scaled > 1.5 and effective < 5_000:
        if scaled**4 < 0.2 * effective:
            return min(1.0, 2.0 * _one_sided(scaled, root))
        return float(min(1.0, 2.0 * smirnov(max(1, round(effective)), min(1.0, distance))))
    return float(min(1.0, kolmogorov(max(0.0, scaled + 1.0 / (6.0 * root) + (scaled - 1.0) / (4.0 * effective)))))


def _one_sided(scaled: float, root: float) -> float:
    """Tail of the one-sided statistic, by Chang Li-Chien's expansion (1956) to its third order.

    The exact law (`scipy.special.smirnov`) adds up as many terms as there are rows, which takes milliseconds. Within
    0.5 % of it while ``scaled**4`` is below a fifth of the rows.
    """
    square = scaled * scaled
    first = -2.0 * scaled / (3.0 * root)
    second = 2.0 * square / (3.0 * root**2) * (1.0 - 2.0 * square / 3.0)
    third = 4.0 * scaled / (9.0 * root**3) * (0.2 - 19.0 * square / 15.0 + 2.0 * square * square / 3.0)
    return math.exp(-2.0 * square) * (1.0 + first + second + third)


def anderson_darling_p(statistic: float) -> float:
    """P-value of A² for two samples: the tail of ``sum(Z_j² / (j (j + 1)))`` to its second order.

    The leading term is Zolotarev's (1961) with the eigenvalue 1/2, ``sqrt(3) erfc(sqrt(x))``; the correction's 11/18 is
    the mean of the remaining sum under the tilted law. Within 1 % of the limit law from ``statistic`` 1.2 (p 0.26) on,
    and an upper bound below. For coarse cells, where some eigenvalues are missing, an upper bound.
    """
    if statistic <= 0.25:
        return 1.0
    return min(1.0, math.sqrt(3.0) * math.erfc(math.sqrt(statistic)) * (1.0 + 11.0 / (36.0 * statistic)))


def chi_square_p(statistic: float, freedom: int) -> float:
    """Upper tail of the chi-square law; 1 for no degree of freedom."""
    return float(chdtrc(freedom, statistic)) if freedom > 0 else 1.0


def share_p(before: float, rows_before: float, after: float, rows_after: float) -> float:
    """Two-sided p-value that ``before`` of ``rows_before`` and ``after`` of ``rows_after`` have one share.

    Where both samples expect fifteen of the rarer kind, the pooled z test (with five its p-value may be a sixth of
    Fisher's exact one); else the binomial law of ``after`` given the sum of both, which is exact for rare things and
    errs to the safe side for others.
    """
    total, rows = before + after, rows_before + rows_after
    if rows_before <= 0 or rows_after <= 0:
        return 1.0
    if total * 2 > rows:
        return share_p(rows_before - before, rows_before, rows_after - after, rows_after)
    if total <= 0:
        return 1.0
    part = rows_after / rows
    if total * min(part, 1.0 - part) >= 15.0:
        pooled = total / rows
        deviation = math.sqrt(pooled * (1.0 - pooled) * (1.0 / rows_before + 1.0 / rows_after))
        return math.erfc(abs(before / rows_before - after / rows_after) / deviation / math.sqrt(2.0))
    at_least = float(betainc(after, total - after + 1.0, part)) if after > 0 else 1.0
    at_most = 1.0 - float(betainc(after + 1.0, total - after, part)) if after < total else 1.0
    return min(1.0, 2.0 * min(at_least, at_most))


def combined(values: Sequence[float], weights: Sequence[float] = ()) -> float:
    """One p-value for several tests of the same question: the smallest, over its share of the weights (Bonferroni)."""
    weights = weights or [1.0] * len(values)
    total = sum(weights)
    return min(1.0, min((p * total / weight for p, weight in zip(values, weights, strict=True)), default=1.0))
