"""SageMaker's standard deviation of a metric: over five random subsamples of 80 %, from 200 samples on.

It is here for compatibility; it is much smaller than the metric's standard error, so no verdict may be built on it.
Source: SageMaker developer guide, "Model quality metrics".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from assay.watch.estimates import Estimate
from assay.watch.quality.interface import SMALLEST_FOR_DEVIATION

if TYPE_CHECKING:
    from assay.watch.quality.interface import Marks

SUBSAMPLES = 5
PART = 0.8


def subsamples(size: int, seed: int) -> Iterator[Marks]:
    """Five masks that keep each sample with 80 % (Spark's ``sample``, on which the service runs, does so too)."""
    import numpy as np

    generator = np.random.default_rng(seed)
    for _ in range(SUBSAMPLES):
        yield generator.random(size, dtype=np.float32) < PART


def with_deviations(
    metrics: Mapping[str, Estimate], size: int, seed: int, measure: Callable[[Marks], Mapping[str, float | None]]
) -> dict[str, Estimate]:
    """``metrics`` with the deviation of what ``measure`` finds in the subsamples; unchanged for small samples."""
    if size < SMALLEST_FOR_DEVIATION:
        return dict(metrics)
    import numpy as np

    found = [measure(kept) for kept in subsamples(size, seed)]
    result = dict(metrics)
    for name, estimate in metrics.items():
        values = [value for values in found if (value := values.get(name)) is not None]
        if estimate.value is not None and len(values) == SUBSAMPLES:
            result[name] = replace(estimate, deviation=float(np.std(values, ddof=1)))
    return result
