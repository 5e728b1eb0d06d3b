"""What a Rego engine is to the rest: a question with modules and an input, and one JSON answer or an error.

Never a boolean, never an exception for what a rule does: an error, a time-out, an unknown builtin and an undefined
result are all answers, and none of them is "allow".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Limits:
    """What one evaluation may use."""

    seconds: float = 10.0
    """Wall time, after which it is killed."""
    memory: int = 1 << 30
    """Bytes of address space beyond what the worker starts with."""
    answer: int = 16 << 20
    """Bytes of the answer's JSON."""


@dataclass(frozen=True, slots=True)
class Query:
    """One program, to be asked for several inputs."""

    modules: Mapping[str, str]
    """File name to text."""
    entry: str = "data.verify.verify"
    """What is asked for."""
    version: str = "auto"
    """``v1``, ``v0`` or ``auto``."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """The base document."""
    network: tuple[str, ...] = ()
    """Hosts (``host`` or ``host:port``) that ``http.send`` may ask."""
    answers: Mapping[str, Any] = field(default_factory=dict)
    """URL to a response (``{"status_code": 200, "body": …}``) that ``http.send`` gives without asking anybody."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one input."""

    value: Any = None
    """The JSON value, when `defined`."""
    defined: bool = False
    error: str | None = None
    """One sentence; then the value means nothing."""
    prints: tuple[str, ...] = ()
    """What the rule printed."""


class Engine(Protocol):
    """An engine, usable from one thread. Close it, or use it as a context manager."""

    name: str
    """``regorus`` or ``opa``."""

    def evaluate(self, query: Query, inputs: Sequence[Any], *, now: datetime, limits: Limits = ...) -> list[Answer]:
        """One answer for each input, in order. An input that is ``bytes`` is JSON text already; ``b""`` is no input.

        ``now`` is what ``time.now_ns`` says. Never raises for what a rule does; raises `MissingExtraError` or
        `UndecidedError` when the engine itself is not to be had.
        """
        ...

    def close(self) -> None:
        """End the worker."""
        ...

    def __enter__(self) -> Engine: ...

    def __exit__(self, *exc: object) -> None: ...
