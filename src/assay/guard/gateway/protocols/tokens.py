"""How many tokens a prompt may have: a careful estimate that is corrected when the model says how many it had.

The rule: one for each four ASCII letters or spaces, one for each two other bytes of UTF-8, both rounded up for each
text, four more for each object (a message's frame), one for each token id, and a fixed number for each picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from assay.guard.gateway.protocols.reading import DEPTH, Refused

IMAGE = 1105
"""Of a picture: OpenAI's count for 2048 by 4096 pixels in high detail."""
REMOTE = 16_384
"""Of a sound, film or file that the server is to fetch from elsewhere: nobody knows before it has."""
_PLAIN = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ "
_PICTURES = frozenset({"image_url", "input_image", "image"})
_MEDIA = frozenset({"input_audio", "audio_url", "video_url", "input_file", "file", "video", "audio"})


def of_text(text: str) -> int:
    """Tokens of one text."""
    data = text.encode(errors="replace")
    other = len(data.translate(None, _PLAIN))
    return -(-(len(data) - other) // 4) + -(-other // 2)


def estimate(value: Any, depth: int = 0) -> int:
    """Tokens of whatever JSON a prompt is made of. Raises `reading.Refused` where it is nested too deeply."""
    if type(value) is str:
        return of_text(value)
    if depth > 2 * DEPTH:
        raise Refused(422, "the body is nested too deeply")
    if type(value) is list:
        return sum(estimate(one, depth + 1) for one in value) if set(map(type, value)) != {int} else len(value)
    if type(value) is dict:
        kind = value.get("type")
        if type(kind) is str and kind in _PICTURES:
            return IMAGE
        if type(kind) is str and kind in _MEDIA:
            return _media(value)
        return 4 + sum(of_text(name) + estimate(one, depth + 1) for name, one in value.items())
    return 1


def _media(value: dict[str, Any]) -> int:
    """Its bytes over four where it comes along; more than any sound has."""
    longest = max(map(len, texts(value)), default=0)
    return max(REMOTE, longest // 4)


def texts(value: Any, depth: int = 0) -> Iterator[str]:
    """All texts in a value, in their order, but not names of fields. Raises `reading.Refused`."""
    if depth > 2 * DEPTH:
        raise Refused(422, "the body is nested too deeply")
    if type(value) is str:
        yield value
    elif isinstance(value, list | dict):
        for one in value if isinstance(value, list) else value.values():
            yield from texts(one, depth + 1)
