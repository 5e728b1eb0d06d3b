"""The metrics in Prometheus' text format, version 0.0.4. Labels are escaped, names checked: no value makes a line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from assay.guard.gateway.metrics.families import Family, Histogram, Labels
from assay.guard.gateway.metrics.registry import BUCKETS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


def exposition(families: Iterable[Family]) -> bytes:
    """The body of ``/metrics``."""
    return "".join(line for family in families for line in _family(family)).encode(errors="replace")


def _family(family: Family) -> Iterator[str]:
    if not _NAME.fullmatch(family.name):
        raise ValueError(f"{family.name!r} is no name of a metric")
    name = f"{family.name}_total" if family.kind == "counter" else family.name
    yield f"# HELP {name} {_escaped(family.help, quotes=False)}\n# TYPE {name} {family.kind}\n"
    for labels, value in family.samples:
        if not isinstance(value, Histogram):
            yield f"{name}{_labels(labels)} {_number(value)}\n"
            continue
        for bound, count in zip((*BUCKETS, float("inf")), value.cumulative, strict=True):
            yield f"{name}_bucket{_labels((*labels, ('le', _number(bound))))} {count}\n"
        yield f"{name}_sum{_labels(labels)} {_number(value.sum)}\n"
        yield f"{name}_count{_labels(labels)} {value.cumulative[-1]}\n"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(text: str, *, quotes: bool = True) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))
