"""Errors of tasks as values: an engine would wrap them in errors of its own, and try four times what cannot succeed.

A task that fails gives a failure instead of a state, a merge passes the first one on, and the driver raises it. It
must never be taken for a state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from assay import errors
from assay.collect.profile.engines.interface import Merge, Part
from assay.collect.profile.engines.registry import engine
from assay.errors import AssayError, DocumentError, UndecidedError

MAGIC = b"assay-failure\x01"
"""What a failure begins with; no state does."""

_REASON = re.compile(r"^[\w.]*(?:Error|Exception): .*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Part:
    part: Part

    def __call__(self, tables: Iterable[Any]) -> bytes | None:
        try:
            return self.part(tables)
        except AssayError as error:
            return _failure(error)


@dataclass(frozen=True, slots=True)
class _Merge:
    merge: Merge

    def __call__(self, *states: bytes) -> bytes:
        failures = [state for state in states if state.startswith(MAGIC)]
        if failures:
            return min(failures)
        try:
            return self.merge(*states)
        except AssayError as error:
            return _failure(error)


def fold(data: Any, part: Part, merge: Merge) -> bytes | None:
    """`Engine.fold` on the engine of ``data``.

    Raises the `AssayError` that a task raised, and `UndecidedError` for everything else that keeps the engine from an
    answer, with the engine's own error as its cause.
    """
    chosen = engine(data)
    try:
        state = chosen.fold(data, _Part(part), _Merge(merge))
    except AssayError:
        raise
    except Exception as error:  # engines raise whatever they like
        raise stopped(error) from error
    if state is not None and state.startswith(MAGIC):
        raise _error(state)
    return state


def stopped(error: Exception) -> UndecidedError:
    """What to say when the engine gave no answer: of a long story, the last error that is named in it."""
    text = str(error).strip() or type(error).__name__
    named = _REASON.findall(text)
    reason = (named[-1] if named else f"{type(error).__name__}: {text.splitlines()[0]}").strip()
    return UndecidedError(
        f"the cluster gave no answer: {reason[:300]}",
        hint="its own log says more; workers need assay with the same version as here, polars and numpy",
    )


def _failure(error: AssayError) -> bytes:
    import msgspec

    return MAGIC + msgspec.json.encode([type(error).__name__, error.message, error.hint])


def _error(failure: bytes) -> AssayError:
    import msgspec

    try:
        name, message, hint = msgspec.json.decode(failure[len(MAGIC) :], type=tuple[str, str, str | None])
    except msgspec.DecodeError:
        return DocumentError("a task of the cluster failed and does not say why")
    kind = getattr(errors, name, None)
    kind = kind if isinstance(kind, type) and issubclass(kind, AssayError) else AssayError
    made = kind.__new__(kind)
    AssayError.__init__(made, message, hint=hint)
    return made
