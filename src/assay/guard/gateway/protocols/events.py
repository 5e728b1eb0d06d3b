"""A stream of server-sent events on its way: what it cost is read out of it, and nothing else is done to it.

Lines are passed on as they are complete; only a line that may be the usage that we asked for is held back until it is.
The sum is the model's own where it tells one for the whole, else an estimate from all text that was streamed, so that
nobody gets more for less by going away before the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from assay.guard.gateway.interface import Context, Usage

LONGEST = 1 << 20
"""Bytes of a line that is looked into; a longer one is passed on unread, and costs its bytes."""
MOST = 1 << 48
"""Tokens of one request at most, whatever a model server reports: sums of them must fit a float and 64 bits."""


class Reported(msgspec.Struct, gc=False):
    """What a model says about its usage: in chat and completions, or in responses."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None

    def settle(self, usage: Usage) -> None:
        """Correct what was reserved."""
        given = self.input_tokens if self.prompt_tokens is None else self.prompt_tokens
        made = self.output_tokens if self.completion_tokens is None else self.completion_tokens
        if made is None and self.total_tokens is not None:
            made = self.total_tokens - (given or 0)  # nothing is left for embeddings
        if given is not None:
            usage.tokens_in = min(max(0, given), MOST)
        if made is not None:
            usage.tokens_out = min(max(0, made), MOST)


class _Choice(msgspec.Struct, gc=False):
    delta: dict[str, Any] | None = None
    text: str | None = None


class _Response(msgspec.Struct, gc=False):
    usage: Reported | None = None


class _Event(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: Reported | None = None
    response: _Response | None = None
    delta: Any = None


_event = msgspec.json.Decoder(_Event).decode
_NAMES = frozenset({"role", "id", "type", "name"})
"""Fields of a delta whose text is not the model's."""


class Events:
    """`parts.Meter`. ``hide``: the caller has not asked for the usage event."""

    __slots__ = ("_deltas", "_hide", "_rest", "_skip", "_swallow", "_usage", "_whole")

    def __init__(self, *, hide: bool) -> None:
        self._hide = hide
        self._rest = b""
        """The beginning of a line; what of it was passed on already where nothing is hidden."""
        self._skip = False
        """In a line that is too long."""
        self._swallow = False
        """The empty line after a hidden event."""
        self._deltas = 0
        self._usage: Reported | None = None
        self._whole = False
        """Whether that is the usage of all choices to their end."""

    def feed(self, data: bytes) -> bytes:
        """See `parts.Meter`."""
        lines = data.split(b"\n")
        if len(lines) == 1:
            return self._partial(data)
        passed = []
        held = self._rest if self._hide else b""
        first = self._rest + lines[0]
        self._rest = b""
        for i, line in enumerate(lines[:-1]):
            whole = first if i == 0 else line
            if self._skip:
                self._skip = False
                passed.append(line + b"\n")
            elif not self._drop(whole):
                passed.append((held + line if i == 0 else line) + b"\n")
        passed.append(self._partial(lines[-1]))
        return b"".join(passed)

    def close(self, context: Context) -> None:
        """See `parts.Meter`."""
        usage = context.usage
        if usage is None:
            return
        if self._rest:
            told = self._deltas
            self._drop(self._rest)  # the last line may lack its end
            if self._hide:
                self._deltas = told  # it was cut, and never passed on
        if self._usage is not None:
            self._usage.settle(usage)
            if not self._whole:  # broken off: it is of one choice, or of what came before
                usage.tokens_out = max(usage.tokens_out, self._deltas)
        elif context.status >= 400:
            usage.tokens_out = 0
        else:
            usage.tokens_out = self._deltas

    def _partial(self, piece: bytes) -> bytes:
        """The piece after the last line's end. Returns what of it is passed on now."""
        if self._skip:
            self._deltas += len(piece) // 4
            return piece
        before, self._rest = self._rest, self._rest + piece
        if len(self._rest) > LONGEST:
            whole, self._rest, self._skip = self._rest, b"", True
            self._deltas += len(whole) // 4
            return whole if self._hide and _may_hide(before) else piece
        if not self._hide:
            return piece
        if _may_hide(self._rest) or (self._swallow and self._rest == b"\r"):
            return b""
        # It was held back as long as it could have become one.
        whole, self._rest, self._skip = self._rest, b"", True
        return whole

    def _drop(self, line: bytes) -> bool:
        """Read a line; whether it is kept from the caller."""
        line = line.rstrip(b"\r")
        if not line:
            swallowed, self._swallow = self._swallow, False
            return swallowed
        self._swallow = False
        if not line.startswith(b"data:") or b"{" not in line[:16]:
            self._whole = self._whole or line[5:].strip() == b"[DONE]"
            return False
        try:
            event = _event(line[5:])
        except (msgspec.DecodeError, RecursionError):
            self._deltas += len(line) // 4
            return False
        reported = event.usage or (event.response.usage if event.response is not None else None)
        if reported is not None:
            self._usage = reported
            self._whole = not event.choices
        self._deltas += _tokens(event)
        if self._hide and reported is not None and event.choices == []:
            self._swallow = True
            return True
        return False


def _may_hide(start: bytes) -> bool:
    """Whether a line that begins so may turn out to be a usage event."""
    head = start[:6].rstrip(b" ")
    return b"data:".startswith(head[:5]) and (len(start) < 7 or start[5:].lstrip(b" ")[:1] in (b"{", b""))


def _tokens(event: _Event) -> int:
    """One for each piece of text, or one for each four bytes of it where that is more."""
    pieces = [*_texts(event.delta)]
    for choice in event.choices or ():
        if choice.text:
            pieces.append(choice.text)
        if choice.delta:
            pieces += _texts(choice.delta)
    return sum(max(1, -(-len(piece.encode(errors="replace")) // 4)) for piece in pieces if piece)


def _texts(value: Any) -> Iterator[str]:
    """All text in a delta, whatever its field is called: arguments of tools are no cheaper than words."""
    if type(value) is str:
        yield value
    elif type(value) is list:
        for one in value:
            yield from _texts(one)
    elif type(value) is dict:
        for name, one in value.items():
            if name in _NAMES or (name == "reasoning" and value.get("reasoning_content")):
                continue  # the latter is said twice
            yield from _texts(one)
