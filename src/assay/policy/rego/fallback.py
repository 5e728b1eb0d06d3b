"""regorus for every rule, and the `opa` program for the rules that regorus says it can't read, where there is one.

The second engine is asked only when the first one lacks a function or a piece of syntax, never when a rule failed,
took too long or gave an answer that somebody might not like.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from assay.policy.rego.interface import Answer, Limits, Query
from assay.policy.rego.regorus import RegorusEngine

if TYPE_CHECKING:
    from assay.policy.rego.opa import OpaEngine

LACKS = re.compile(
    r":[0-9]+: (could not find function |unexpected keyword|invalid character|expecting |undefined rule|.+ is unsafe)"
)
"""How regorus' sentences about what it can't read go on after the place."""


class AutoEngine:
    """See `interface.Engine`."""

    name = "auto"

    def __init__(self) -> None:
        self._first = RegorusEngine()
        self._second: OpaEngine | None = None

    def __enter__(self) -> AutoEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End both."""
        self._first.close()
        if self._second is not None:
            self._second.close()

    def evaluate(
        self,
        query: Query,
        inputs: Sequence[Any],
        *,
        now: datetime,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> list[Answer]:
        """One answer for each input, all of them by the same engine."""
        answers = self._first.evaluate(query, inputs, now=now, limits=limits)
        if not any(answer.error is not None and LACKS.search(answer.error) for answer in answers):
            return answers
        from assay.policy.rego.opa import OpaEngine, program  # most policies never come here

        if (found := program()) is None:
            return answers
        if self._second is None:
            self._second = OpaEngine(found)
        return self._second.evaluate(query, inputs, now=now, limits=limits)
