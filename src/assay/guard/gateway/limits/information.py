"""How many bits an answer can tell about one row: an upper bound, from the number of classes and the hardening.

Shannon: a message from a set of n says at most log2(n) bits. What noise takes away is not subtracted, because a caller
who knows the noise's law may undo part of it.
"""

from __future__ import annotations

import math

from assay.guard.gateway.settings.serving import Hardening

MANTISSA = 52
"""Bits of a probability that is told as a float64 (IEEE 754)."""


def information(classes: int | None, hardening: Hardening | None) -> float:
    """Bits a row. Unknown classes count as two, the fewest there can be.

    Of ``k`` classes a hardened answer tells the ``t`` most probable: which these are and in which order,
    ``log2(k! / (k - t)!)``, and ``t`` probabilities of ``log2(values)`` bits each; of all ``k`` one follows from the
    others, and their order from themselves. Never less than the label, ``log2(k)``.
    """
    k = max(2, classes or 2)
    label = math.log2(k)
    if hardening is None:
        return max(label, float(MANTISSA * (k - 1)))
    if hardening.label_only:
        return label
    each = float(MANTISSA)
    if hardening.digits is not None:
        each = min(each, math.log2(10**hardening.digits + 1))
    if hardening.buckets is not None:
        each = min(each, math.log2(hardening.buckets))
    told = min(hardening.top or k, k)
    if told == k:
        return max(label, each * (k - 1))
    order = (math.lgamma(k + 1) - math.lgamma(k - told + 1)) / math.log(2)
    return max(label, order + each * told)
