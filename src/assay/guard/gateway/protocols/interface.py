"""What a serving protocol has to say: where a path leads, what a body asks for, what an answer says.

Implementations are pure and keep nothing of a request. Whatever they do not know for certain they refuse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from assay.guard.gateway.hardening.vectors import How
from assay.guard.gateway.interface import Answers, Context, Decision, Measure, Table, Usage, Verb
from assay.guard.gateway.parts import Meter
from assay.guard.gateway.schemas.validate import Validator

NOT_FOUND = Decision(False, 404, "route", "there is nothing here")
WRONG_METHOD = Decision(False, 405, "route", "this path does not take this method")


class Found(msgspec.Struct, frozen=True):
    """What a path means."""

    verb: Verb
    template: str
    model: str = ""
    version: str = ""


class Pattern:
    """One path of a protocol. ``{model}`` and ``{version}`` stand for a segment's text without a colon."""

    __slots__ = ("_regex", "method", "template", "verb")

    def __init__(self, method: str, template: str, verb: Verb) -> None:
        self.method = method
        self.template = template
        self.verb = verb
        pattern = re.escape(template).replace(r"\{model\}", "(?P<model>[^/:]+)")
        self._regex = re.compile(pattern.replace(r"\{version\}", "(?P<version>[^/:]+)"))

    def match(self, path: str) -> Found | None:
        """What the path means, whatever the method."""
        match = self._regex.fullmatch(path)
        return Found(self.verb, self.template, **match.groupdict()) if match else None


def find(patterns: Sequence[Pattern], method: str, path: str) -> Found | Decision:
    """The pattern that fits both, else 405 or 404."""
    refusal = NOT_FOUND
    for pattern in patterns:
        if (found := pattern.match(path)) is not None:
            if pattern.method == method:
                return found
            refusal = WRONG_METHOD
    return refusal


class Asked(msgspec.Struct, frozen=True, gc=False):
    """A request's body, with what is needed to read it."""

    verb: Verb
    content_type: bytes
    headers: Mapping[bytes, bytes]
    """Empty out of band."""
    body: bytes
    validator: Validator | None = None
    hardened: bool = False
    """Whether the answer has to be understood."""
    max_tokens: int = 4096
    """Reserved where the request says nothing."""


class Hardener(msgspec.Struct, frozen=True):
    """How an answer is made to say less, with all that noise needs."""

    how: How
    key: bytes
    model: str
    question: Asked


class Serving(Protocol):
    """A serving protocol."""

    name: str

    def match(self, method: str, path: str) -> Found | Decision:
        """Where ``path`` (decoded, normal form, without the route's prefix) leads."""

    def measure(self, asked: Asked) -> Measure:
        """What is asked for. Raises `reading.Refused`."""

    def rows(self, asked: Asked) -> list[Any]:
        """The rows one by one: lists, objects or values. Raises `reading.Refused`."""

    def table(self, asked: Asked) -> Table | None:
        """The rows as a table. Raises `reading.Refused`."""

    def answers(self, content_type: bytes, body: bytes) -> Answers | None:
        """What was answered. Raises `reading.Refused`."""

    def harden(self, hardener: Hardener, content_type: bytes, body: bytes) -> bytes:
        """The answer made to say less. Raises `parts.Unhardened` or `reading.Refused`."""

    def error(self) -> bytes:
        """A plain body for an answer that tells of an error: the model's own words could tell more."""

    def meter(self, context: Context) -> Meter | None:
        """For a streamed answer."""

    def settle(self, usage: Usage, status: int, content_type: bytes, body: bytes) -> None:
        """Correct what was reserved by the answer."""
