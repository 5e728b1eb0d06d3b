"""How many tokens a prompt may have: a careful estimate that is corrected when the model says how many it had.

The rule: one for each four ASCII letters or spaces, one for each two other bytes of UTF-8, both rounded up for each
text, four more for each object (a message's frame), one for each token id, and a fixed number for each picture. What
stands beside a picture or sound counts like anything else: whoever calls a whole message a picture saves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from assay.guard.gateway.protocols.reading import DEPTH, Refused, require_few

IMAGE = 1105
"""Of a picture: OpenAI's count for 2048 by 4096 pixels in high detail."""
REMOTE = 16_384
"""Of a sound, film or file that the server is to fetch from elsewhere: nobody knows before it has."""
_PLAIN = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ "
_PICTURES = frozenset({"image_url", "input_image", "image"})
_MEDIA = frozenset({"input_audio", "audio_url", "video_url", "input_file", "file", "video", "audio"})
_DATA = _PICTURES | _MEDIA | {"file_data", "file_url", "file_id"}
"""Fields that hold the picture, sound, film or file itself, or say where it is."""


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
        if set(map(type, value)) == {int}:
            return len(value)
        require_few(len(value))
        return sum(estimate(one, depth + 1) for one in value)
    if type(value) is dict:
        kind = value.get("type")
        if kind == "item_reference":
            raise Refused(422, "what is only referred to cannot be measured")
        if type(kind) is not str or kind not in _PICTURES | _MEDIA:
            return 4 + sum(of_text(name) + estimate(one, depth + 1) for name, one in value.items())
        data = [one for name, one in value.items() if name in _DATA]
        beside = sum(of_text(name) + estimate(one, depth + 1) for name, one in value.items() if name not in _DATA)
        # A sound's bytes over four, where they come along, are more than any sound has.
        return beside + (IMAGE if kind in _PICTURES else max(REMOTE, sum(map(len, texts(data, depth))) // 4))
    return 1


def texts(value: Any, depth: int = 0) -> Iterator[str]:
    """All texts in a value, in their order, but not names of fields. Raises `reading.Refused`."""
    if depth > 2 * DEPTH:
        raise Refused(422, "the body is nested too deeply")
    if type(value) is str:
        yield value
    elif isinstance(value, list | dict):
        for one in value if isinstance(value, list) else value.values():
            yield from texts(one, depth + 1)
