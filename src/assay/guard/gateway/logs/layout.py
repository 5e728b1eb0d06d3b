"""A format of the access log as data, and the one way from a request to a line: in the format, escaped, bounded.

What repeats from request to request is put into the line's form once and remembered, for so many forms and no more;
what changes is filled in. A line ends in the only line feed that is in it, and is ASCII.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter

from assay.guard.gateway.interface import Context
from assay.guard.gateway.logs.fields import (
    BOUNDS,
    CHANGING,
    EMPTY,
    LINE,
    Key,
    Text,
    clf_time,
    iso_time,
    key,
    privacy,
    repeating,
)

FORMS = 8192
"""Most remembered forms, each at most `LINE` characters; all are forgotten when there are more."""

_NUMERIC = {"requestTimeEpoch": "%d", "responseLatency": "%.3f"}
"""Changing fields that are filled in as numbers."""

_NUMBERS = ("responseLength", "requestLength", "rows", "tokensIn", "tokensOut", "integrationLatency", "responseLatency")


def _no_more(_true: Mapping[str, str], _shown: Mapping[str, str]) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Layout:
    """A format: what stands before each field, how text is escaped, what comes last."""

    pieces: tuple[tuple[str, str], ...]
    """What stands before a field, and its name."""
    end: str
    escape: Text
    """Of any text; the result is ASCII and has no line feed."""
    derive: Callable[[Mapping[str, str], Mapping[str, str]], Mapping[str, str]] = _no_more
    """More repeating fields, from the escaped ones as they are and as they may be shown; taken as they are."""
    event: bool = False
    """Whether there is an ``eventId`` (`Context.id` in the form of a UUID) and an ``eventTime``; numbers are then as in
    JSON, ``null`` where they are not known.
    """


class Liner:
    """From requests to lines. Called by one thread."""

    def __init__(self, layout: Layout, drop: tuple[str, ...], hashed: tuple[str, ...], secret: bytes) -> None:
        self._layout = layout
        self._escape = layout.escape
        self._private = privacy(drop, hashed, secret)
        self._changing = {*CHANGING, "eventId", "eventTime"}
        self._order = [name for _, name in layout.pieces if name in self._changing]
        self._plain = self._order == list(CHANGING) and not self._changing & self._private.keys()
        self._pick: Callable[[tuple[object, ...]], tuple[object, ...]] = self._arranged
        if not layout.event and not self._changing & self._private.keys():
            self._pick = itemgetter(*map(CHANGING.index, self._order))
        self._places = dict.fromkeys(self._changing, "%s") | {
            name: place for name, place in _NUMERIC.items() if name not in self._private
        }
        self._forms: dict[Key, str] = {}
        self._second = -1
        self._time = self._iso = ""

    def __call__(self, context: Context) -> bytes:
        """One line. Never raises for what a stranger wrote."""
        same = key(context)
        form = self._forms.get(same)
        if form is None:
            form = self._form(same, context)
        at = context.at
        second = int(at)
        if second != self._second:
            self._second, self._time, self._iso = second, self._escape(clf_time(second)), iso_time(second)
        identity, asked, trace = context.id or EMPTY, context.request_id, context.trace
        usage, upstream = context.usage, context.upstream
        if usage is None:
            rows: object = EMPTY
            tokens_in: object = EMPTY
            tokens_out: object = EMPTY
        else:
            rows, tokens_in, tokens_out = usage.rows, usage.tokens_in, usage.tokens_out
        values = (
            identity if asked is identity else self._escape(asked[:64]) or EMPTY,
            self._time,
            context.bytes_out,
            identity,  # ours: hex digits
            at * 1000,
            "%.3f" % (upstream * 1000) if upstream else EMPTY,
            context.ended * 1000,
            context.bytes_in,
            rows,
            tokens_in,
            tokens_out,
            self._escape(trace[:64]) if trace else EMPTY,
        )
        if self._plain:
            return (form % values).encode("ascii")
        return (form % self._pick(values)).encode("ascii")

    def _arranged(self, values: tuple[object, ...]) -> tuple[object, ...]:
        """The changing values in the layout's order, with what is hidden hidden."""
        named: dict[str, object] = dict(zip(CHANGING, values, strict=True))
        for name, hide in self._private.items():
            if name in named:
                named[name] = hide(_NUMERIC.get(name, "%s") % named[name]) or EMPTY
        if self._layout.event:
            identity = str(named["extendedRequestId"])
            parts = (identity[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))
            named["eventId"] = "-".join(parts) if len(identity) == 32 else identity
            named["eventTime"] = self._iso
            for name in _NUMBERS:
                value = named[name]
                named[name] = "null" if value == EMPTY else f'"{value}"' if name in self._private else value
        return tuple(named[name] for name in self._order)

    def _form(self, same: Key, context: Context) -> str:
        """The line with all that repeats, and places for what changes."""
        values = repeating(context)
        hidden = {name: hide(values[name]) for name, hide in self._private.items() if name in values}
        form = ""
        for bound in BOUNDS:
            true = {name: self._escape(value[:bound]) or EMPTY for name, value in values.items()}
            escaped = true | {name: value or EMPTY for name, value in hidden.items()}
            escaped |= self._layout.derive(true, escaped)
            parts = []
            for before, name in self._layout.pieces:
                parts.append(before.replace("%", "%%"))
                parts.append(self._places[name] if name in self._changing else escaped[name].replace("%", "%%"))
            form = "".join(parts) + self._layout.end
            if len(form) <= LINE:
                break
        if len(self._forms) >= FORMS:
            self._forms.clear()
        self._forms[same] = form
        return form
