"""The access log as XML: one ``<request>`` element a line, as API Gateway's preset has it, with our other fields.

What XML 1.0 cannot hold (section 2.2) is written out with a backslash; all that is not ASCII is a character reference.
"""

from __future__ import annotations

import re
from itertools import pairwise

from assay.guard.gateway.logs.fields import ARTICLE, MORE
from assay.guard.gateway.logs.layout import Layout

_ODD = re.compile(r"[^ !#-%(-;=?-\[\]-~]")
_NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;", "\\": "\\\\"}


def escape(text: str) -> str:
    """As it stands in an element or attribute."""
    return _ODD.sub(_one, text)


def _one(found: re.Match[str]) -> str:
    character = found[0]
    if (named := _NAMED.get(character)) is not None:
        return named
    code = ord(character)
    if code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or code & 0xFFFE == 0xFFFE:
        return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return f"&#x{code:X};"


_NAMES = (*ARTICLE[1:], *MORE)

LAYOUT = Layout(
    pieces=(
        ('<request id="', "requestId"),
        ('"><ip>', "ip"),
        *((f"</{before}><{name}>", name) for before, name in pairwise(_NAMES)),
    ),
    end=f"</{_NAMES[-1]}></request>\n",
    escape=escape,
)
