"""``bias``: how far apart a metric may lie between groups, by an evaluation that states it for each group.

The groups' metrics are found by a glob over their names, ``accuracy/sex=*``; what the star stands for is the group.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta

from assay.errors import DocumentError
from assay.policy.checks.arguments import Arguments, Word, Words, convert, schema
from assay.policy.checks.interface import Document
from assay.policy.checks.metrics import TYPES
from assay.policy.checks.reading import glob, mapping, number, show, told
from assay.policy.verdict import Violation


class Gap(Arguments, frozen=True):
    """One metric over groups."""

    metric: Annotated[Word, Meta(description="Name of the groups' metrics with one *, as accuracy/sex=*.")]
    max_gap: Annotated[float | None, Meta(description="Largest difference between two groups.")] = None
    min_ratio: Annotated[
        float | None, Meta(description="Least ratio of the smallest to the largest (0.8: the four-fifths rule).")
    ] = None
    groups: Annotated[Words, Meta(description="Groups that must be among them, by name.")] = ()
    minimum: Annotated[int, Meta(description="How many groups there must be.", ge=2)] = 2


class Bias(Arguments, frozen=True):
    """Differences between groups."""

    require: Annotated[tuple[Gap, ...], Meta(description="One for each metric and attribute.", min_length=1)]


class _Check:
    name = "bias"
    types: tuple[str, ...] = TYPES
    schema = schema(Bias)

    def prepare(self, arguments: Any, place: str) -> Bias:
        """See `Check.prepare`."""
        read = convert(Bias, arguments, place)
        for i, gap in enumerate(read.require):
            here = f"{place}.require[{i}]"
            if gap.metric.count("*") != 1 or "?" in gap.metric:
                raise DocumentError(f"{here}.metric: {show(gap.metric)} needs one *, which stands for the group")
            if gap.max_gap is None and gap.min_ratio is None:
                raise DocumentError(f"{here}: neither max-gap nor min-ratio is given")
            for limit in (gap.max_gap, gap.min_ratio):
                if limit is not None and (number(limit) is None or limit < 0):
                    raise DocumentError(f"{here}: {show(limit)} is not a finite number of at least 0")
        return read

    def violations(self, document: Document, arguments: Bias) -> Iterator[Violation]:
        """See `Check.violations`."""
        return told(self, document, (wrong for gap in arguments.require for wrong in _wrong(document, gap)))


def _wrong(document: Document, wanted: Gap) -> Iterator[Violation]:
    before, _, after = wanted.metric.partition("*")
    groups: dict[str, int | float] = {}
    for name, value in mapping(document.predicate.get("metrics")).items():
        if isinstance(name, str) and len(name) > len(wanted.metric) - 1 and glob(wanted.metric, name):
            found = number(value)
            if found is None:
                yield Violation(f"{show(name)} is not a number", f"metrics.{name[:200]}")
            else:
                groups[name[len(before) : len(name) - len(after)]] = found
    for group in wanted.groups:
        if group not in groups:
            yield Violation(f"{wanted.metric} is not stated for {show(group)}", "metrics", {"group": group})
    if len(groups) < wanted.minimum:
        text = f"{wanted.metric} is stated for {len(groups)} groups, needs {wanted.minimum}"
        yield Violation(text, "metrics", {"groups": len(groups)})
    if len(groups) < 2:
        return
    low, high = min(groups, key=groups.__getitem__), max(groups, key=groups.__getitem__)
    least, most = groups[low], groups[high]
    shown = f"{show(least)} for {show(low)} and {show(most)} for {show(high)}"
    if wanted.max_gap is not None and most - least > wanted.max_gap + 1e-12 * max(1, abs(wanted.max_gap)):
        yield Violation(f"{wanted.metric} is {shown}, further apart than {show(wanted.max_gap)}", "metrics")
    # A ratio says something only of numbers that are not negative.
    if wanted.min_ratio is not None and (least < 0 or least < wanted.min_ratio * most):
        yield Violation(f"{wanted.metric} is {shown}, a ratio below {show(wanted.min_ratio)}", "metrics")


CHECK = _Check()
