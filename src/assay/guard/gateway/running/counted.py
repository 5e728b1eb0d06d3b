"""What each caller has asked for since the start, for the administrator: one by one, and no more of them than fit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from assay.guard.gateway.admin.interface import CallerFigures
from assay.guard.gateway.interface import Level, Sample, Standing

CALLERS = 10_000
"""Callers who are counted one by one; the one not seen for longest goes first."""


class _Caller:
    """What is counted of one caller."""

    __slots__ = ("owner", "plan", "refused", "requests", "rows", "seen", "tokens")

    def __init__(self) -> None:
        self.owner = self.plan = ""
        self.requests = self.refused = self.rows = self.tokens = 0
        self.seen = 0.0


class Counted:
    """Not for several threads at once."""

    def __init__(self) -> None:
        self._callers: OrderedDict[str, _Caller] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._callers

    def __iter__(self) -> Iterator[str]:
        return iter(self._callers)

    def count(self, sample: Sample) -> None:
        """One request."""
        known = self._callers.get(sample.caller)
        if known is None:
            if len(self._callers) >= CALLERS:
                self._callers.popitem(last=False)
            known = self._callers[sample.caller] = _Caller()
        else:
            self._callers.move_to_end(sample.caller)
        known.owner, known.plan = sample.owner, sample.plan
        known.requests += 1
        if sample.rule:
            known.refused += 1  # what was asked for was not given
        else:
            known.rows += sample.rows
            known.tokens += sample.tokens
        known.seen = sample.at

    def figures(self, name: str, standing: Standing | None) -> CallerFigures:
        """Of one caller, who stands as ``standing`` says; zeros where it was not seen."""
        known = self._callers.get(name) or _Caller()
        level = Level(standing.level).name.lower() if standing is not None else "ok"
        return CallerFigures(
            name,
            owner=known.owner,
            plan=known.plan,
            level=level,  # type: ignore[arg-type]
            why=standing.why if standing is not None else "",
            requests=known.requests,
            refused=known.refused,
            rows=known.rows,
            tokens=known.tokens,
            seen=known.seen,
        )
