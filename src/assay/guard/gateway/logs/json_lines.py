"""The access log as JSON: one object a line, every value a string, as API Gateway's preset has them.

What is not printable ASCII is escaped (RFC 8259, 7): neither a terminal nor a reader of bidirectional text is steered.
"""

from __future__ import annotations

from json.encoder import encode_basestring_ascii

from assay.guard.gateway.logs.fields import FIELDS
from assay.guard.gateway.logs.layout import Layout


def escape(text: str) -> str:
    """As it stands in a string; a lone surrogate too."""
    return encode_basestring_ascii(text)[1:-1]


LAYOUT = Layout(
    pieces=(('{"requestId":"', "requestId"), *((f'","{name}":"', name) for name in FIELDS[1:])),
    end='"}\n',
    escape=escape,
)
