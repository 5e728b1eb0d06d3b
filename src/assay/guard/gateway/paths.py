"""The one form of a request's path. What two readers could read in two ways is refused, never repaired.

RFC 3986, 2 and 6; RFC 9112, 3.2. Only the origin form is taken: a gateway is no forward proxy.
"""

from __future__ import annotations

import re

from assay.guard.gateway.interface import Decision

_SEGMENTS = re.compile(rb"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*", re.ASCII)
_QUERY = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:@%/?\[\]|-]*", re.ASCII)
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@ ")
"""Bytes that an escape in a path may stand for, and any byte of UTF-8: never ``/``, ``\\``, ``%``, ``?``, ``#``, ``;``,
a control character or a quote.
"""

BAD = Decision(False, 400, "path", "the request's path is not in its normal form")


def split(
    target: bytes,
) -> (
    tuple[
        str,
        bytes,
    ]
    | Decision
):
    """Path (decoded) and query (as sent) of a request's target, or the refusal."""
    path, _, query = target.partition(b"?")
    if not _SEGMENTS.fullmatch(path) or not _QUERY.fullmatch(query) or b"//" in path or b";" in path:
        return BAD
    if b"%" in path:
        for escape in _ESCAPE.finditer(path):
            if escape[1] is None or ((byte := int(escape[1], 16)) < 0x80 and byte not in _PLAIN):
                return BAD
        path = _ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), path)
    try:
        decoded = path.decode()
    except UnicodeDecodeError:
        return BAD
    if not decoded.isprintable() or any(segment in (".", "..") for segment in decoded.split("/")):
        return BAD
    return decoded, query
