"""The access log as CSV (RFC 4180) without a header: API Gateway's preset, then our other fields in their order.

Every value stands in quotes, none goes over a line's end, none is a formula to a spreadsheet (OWASP, CSV injection).
"""

from __future__ import annotations

from assay.guard.gateway.logs.fields import EMPTY, MORE
from assay.guard.gateway.logs.layout import Layout
from assay.guard.gateway.logs.visible import PRINTABLE, visible

COLUMNS = (
    "ip",
    "caller",
    "user",
    "requestTime",
    "httpMethod",
    "resourcePath",
    "protocol",
    "status",
    "responseLength",
    "requestId",
    *MORE,
)
"""What stands in which column."""

_visible = visible(PRINTABLE)


def escape(text: str) -> str:
    """As it stands between quotes; what a spreadsheet would compute begins with an apostrophe."""
    text = _visible(text).replace('"', '""')
    return "'" + text if text.lstrip(" ").startswith(("=", "+", "-", "@")) and text != EMPTY else text


LAYOUT = Layout(
    pieces=(('"', "ip"), *(('","', name) for name in COLUMNS[1:])),
    end='"\n',
    escape=escape,
)
