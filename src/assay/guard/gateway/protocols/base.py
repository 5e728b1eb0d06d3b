"""What protocols share whose answers are a list with one prediction a row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import msgspec

from assay.guard.gateway.hardening.items import harden_items
from assay.guard.gateway.hardening.noise import seeds
from assay.guard.gateway.interface import Answers, Context, Table, Usage
from assay.guard.gateway.parts import Meter
from assay.guard.gateway.protocols import answers, rows
from assay.guard.gateway.protocols.interface import Asked, Hardener
from assay.guard.gateway.protocols.reading import Refused

any_json = msgspec.json.Decoder().decode


class Predictions(ABC):
    """Base class: a protocol says `rows` and `items`, and `pack` or a `harden` of its own."""

    name = ""

    @abstractmethod
    def rows(self, asked: Asked) -> list[Any]:
        """See `interface.Serving`."""

    @abstractmethod
    def items(self, content_type: bytes, body: bytes) -> list[Any]:
        """The predictions of an answer. Raises `reading.Refused`."""

    def pack(self, content_type: bytes, body: bytes, items: Sequence[Any]) -> bytes:
        """An answer with these predictions and nothing else of ``body``'s, in its form."""
        raise NotImplementedError  # only `harden` asks: whose protocol has its own, like open-inference, needs none

    def table(self, asked: Asked) -> Table | None:
        """See `interface.Serving`."""
        return rows.table(self.rows(asked), asked.validator.names if asked.validator is not None else ())

    def answers(self, content_type: bytes, body: bytes) -> Answers | None:
        """See `interface.Serving`."""
        return answers.answers(self.items(content_type, body))

    def harden(self, hardener: Hardener, content_type: bytes, body: bytes) -> bytes:
        """See `interface.Serving`."""
        hardened = harden_items(self.items(content_type, body), hardener.how, self.seeds(hardener))
        return self.pack(content_type, body, hardened)

    def seeds(self, hardener: Hardener) -> list[bytes] | None:
        """One seed a row of the question; None where nothing needs one."""
        if not hardener.how.noise or hardener.how.label_only:
            return None
        question = hardener.question
        known = question.validator
        names, steps = (known.names, known.steps) if known is not None else ((), ())
        return seeds(hardener.key, hardener.model, self.rows(question), names, steps)

    def error(self) -> bytes:
        """See `interface.Serving`."""
        return b'{"error":"the model refused the request"}'

    def meter(self, context: Context) -> Meter | None:
        """Nothing is streamed here."""
        return None

    def settle(self, usage: Usage, status: int, content_type: bytes, body: bytes) -> None:
        """More answers than rows were measured: they count."""
        if status < 400:
            try:
                usage.rows = max(usage.rows, len(self.items(content_type, body)))
            except Refused:
                return
