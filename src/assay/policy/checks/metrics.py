"""``metrics``: how well a model must have done in an evaluation, and on what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta

from assay.errors import DocumentError
from assay.policy.checks.arguments import Arguments, Count, Word, Words, convert, schema
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import dig, first, mapping, number, show, string, told
from assay.policy.fields import strong
from assay.policy.verdict import Violation

_DIGEST = re.compile(r"sha(256|384|512):", re.IGNORECASE)
TYPES = ("https://assay.dev/evaluation/v0.1",)


class Bounds(Arguments, frozen=True):
    """Between which values a metric must lie, both included."""

    minimum: float | None = None
    maximum: float | None = None


class Metrics(Arguments, frozen=True):
    """Metrics of an evaluation, by their names in it."""

    require: Annotated[dict[Word, Bounds], Meta(description="Name to minimum and maximum.", min_length=1)]
    datasets: Annotated[
        Words, Meta(description="Evaluated on one of these: a name, URI or path (glob), or sha256:HEX.")
    ] = ()
    digested: Annotated[bool, Meta(description="The data set must be named by a strong digest.")] = False
    samples: Annotated[Count, Meta(description="On how many samples at least.")] = 0
    splits: Annotated[Words, Meta(description="On one of these splits: test.")] = ()


class _Check:
    name = "metrics"
    types: tuple[str, ...] = TYPES
    schema = schema(Metrics)

    def prepare(self, arguments: Any, place: str) -> Metrics:
        """See `Check.prepare`."""
        read = convert(Metrics, arguments, place)
        for name, bounds in read.require.items():
            low, high = bounds.minimum, bounds.maximum
            if low is None and high is None:
                raise DocumentError(f"{place}.require.{name[:100]}: neither minimum nor maximum is given")
            if any(number(limit) is None for limit in (low, high) if limit is not None):
                raise DocumentError(f"{place}.require.{name[:100]}: a limit is not a finite number")
            if low is not None and high is not None and low > high:
                raise DocumentError(f"{place}.require.{name[:100]}: the minimum is above the maximum")
        return read

    def violations(self, document: Document, arguments: Metrics) -> Iterator[Violation]:
        """See `Check.violations`."""
        return told(self, document, _wrong(document, arguments))


def _wrong(document: Document, wanted: Metrics) -> Iterator[Violation]:
    predicate = document.predicate
    metrics = mapping(predicate.get("metrics"))
    for name, bounds in wanted.require.items():
        value = number(metrics.get(name))
        path = f"metrics.{name}"
        if value is None:
            text = f"the metric {show(name)} is absent" if name not in metrics else f"{show(name)} is not a number"
            yield Violation(text, path, {"metric": name})
        elif bounds.minimum is not None and value < bounds.minimum:
            yield Violation(f"{name} is {show(value)}, needs >= {show(bounds.minimum)}", path, {"metric": name})
        elif bounds.maximum is not None and value > bounds.maximum:
            yield Violation(f"{name} is {show(value)}, needs <= {show(bounds.maximum)}", path, {"metric": name})
    yield from _dataset(predicate.get("dataset"), wanted)
    samples = number(predicate.get("samples"))
    if wanted.samples and (samples is None or samples < wanted.samples):
        found = "an unknown number of" if samples is None else show(samples)
        yield Violation(f"it was evaluated on {found} samples, needs {wanted.samples}", "samples")
    split = string(predicate.get("split"))
    if wanted.splits and (split is None or not first(wanted.splits, split)):
        yield Violation(f"it was evaluated on the split {show(split)}", "split")


def _dataset(dataset: Any, wanted: Metrics) -> Iterator[Violation]:
    digests = {f"sha{len(digest) * 4}:{digest}" for digest in strong(dig(dataset, "digest"))}
    names = [name for name in (string(dataset), string(dig(dataset, "name")), string(dig(dataset, "uri"))) if name]
    globs = [entry for entry in wanted.datasets if not _DIGEST.match(entry)]  # a name like a digest is no digest
    if wanted.digested and not digests:
        yield Violation(f"the data set {show(names[0] if names else None)} is not named by digest", "dataset")
    if wanted.datasets and not (
        any(entry.lower() in digests for entry in wanted.datasets) or any(first(globs, name) for name in names)
    ):
        yield Violation(f"it was evaluated on {show(names[0] if names else None)}, not on the list", "dataset")


CHECK = _Check()
