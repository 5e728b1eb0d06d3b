"""The access log in the Common Log Format, in API Gateway's preset: the ten fields of the article and nothing else.

No field has a space, a quote or a bracket in it, whatever a stranger wrote.
"""

from __future__ import annotations

from assay.guard.gateway.logs.layout import Layout
from assay.guard.gateway.logs.visible import PRINTABLE, visible

_TIME = PRINTABLE.replace('"', "").replace("[", "").replace("]", "")
_escape = visible(_TIME.replace(" ", ""))
_escape_time = visible(_TIME)


def escape(text: str) -> str:
    """Spaces are written out too, but for the one in a time, which is ours."""
    return _escape_time(text) if text.endswith(" +0000") and len(text) == 26 else _escape(text)


LAYOUT = Layout(
    pieces=(
        ("", "ip"),
        (" ", "caller"),
        (" ", "user"),
        (" [", "requestTime"),
        ('] "', "httpMethod"),
        (" ", "resourcePath"),
        (" ", "protocol"),
        ('" ', "status"),
        (" ", "responseLength"),
        (" ", "requestId"),
    ),
    end="\n",
    escape=escape,
)
