"""What every way in reads alike in a request's headers: which stand alone, how a length is written, what a host's name
is; and how any text becomes a header's value.

One list for all of them: a header that one face joins and another refuses is one that two readers read differently.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from assay.guard.gateway import ruled
from assay.guard.gateway.settings import Settings

SINGLE = frozenset(
    b"host content-length transfer-encoding content-type content-encoding content-range authorization cookie expect "
    b"upgrade x-api-key x-request-id traceparent user-agent referer origin from date range max-forwards "
    b"proxy-authorization if-match if-modified-since if-range if-unmodified-since sec-websocket-key "
    b"sec-websocket-version sec-websocket-accept location etag".split()
)
"""Headers that may come once: to read one of two is to choose, and two readers may choose differently."""

LISTS = frozenset(
    b"accept accept-charset accept-encoding accept-language baggage cache-control connection forwarded link pragma te "
    b"trailer tracestate via x-forwarded-for x-forwarded-host x-forwarded-proto".split()
)
"""Headers of which each hop or library may add a line (RFC 9110, 5.3); what they say together is one list."""

HOP = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade proxy-authorization "
    b"proxy-authenticate http2-settings".split()
)
"""Headers of one connection (RFC 9110, 7.6.1)."""

OURS = frozenset(
    b"forwarded x-forwarded x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-port x-forwarded-server "
    b"x-forwarded-ssl x-forwarded-prefix x-forwarded-scheme x-forwarded-user x-forwarded-email x-forwarded-groups "
    b"x-forwarded-preferred-username x-forwarded-access-token x-forwarded-client-cert x-forwarded-path "
    b"x-forwarded-uri x-forwarded-method x-real-ip x-client-ip x-cluster-client-ip true-client-ip "
    b"cf-connecting-ip fastly-client-ip x-original-url x-rewrite-url x-original-host x-host x-http-method-override "
    b"x-method-override x-http-method x-request-id traceparent front-end-https x-original-forwarded-for "
    b"x-envoy-external-address x-original-method x-original-uri proxy".split()
)
"""What only we say to the model server, or what would make it read another request than the one that was judged. All
that begins with ``x-forwarded-`` or ``x-assay-`` is, too; an edge that knows no beginnings has the names of this list.
"""

TELLING = frozenset(
    b"content-encoding etag content-md5 digest content-digest repr-digest accept-ranges content-range last-modified "
    b"trailer".split()
)
"""Headers about an answer's bytes: wrong once they are others, and a digest of the true answer gives it away."""

HARMLESS = frozenset(
    b"content-type content-language cache-control date expires pragma vary server retry-after x-request-id "
    b"strict-transport-security x-content-type-options x-frame-options content-security-policy referrer-policy "
    b"permissions-policy access-control-allow-origin access-control-allow-credentials access-control-allow-methods "
    b"access-control-allow-headers access-control-expose-headers access-control-max-age "
    b"cross-origin-resource-policy".split()
)
"""All headers that an answer keeps which was made to say less: any other may say what the answer no longer does."""

LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
"""The one form of ``Content-Length``."""

_PORT = re.compile(rb":[0-9]+\Z")
_SAFE = " !#$&'()*+,-./:;<=>?@[]^_`{|}~"


def single(settings: Settings, *, cookies: bool = False) -> frozenset[bytes]:
    """Headers that may come once, the callers' key and what rules look at among them: two lines together are no value
    that a rule names, and a server may take either. With ``cookies`` these may come in pieces: HTTP/2 splits them (RFC
    9113, 8.2.3).
    """
    named = {name.lower().encode("latin-1", "replace") for name, _ in ruled.headers(settings)}
    found = SINGLE | {settings.callers.header.lower().encode()} | (named - LISTS)
    return found - {b"cookie"} if cookies else found


def join(headers: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    """Add to a header that came before (RFC 9110, 5.3; RFC 9113, 8.2.3 for cookies)."""
    headers[name] += (b"; " if name == b"cookie" else b", ") + value


def host_names(settings: Settings) -> frozenset[bytes]:
    """Names that ``Host`` may have, as `host_name` says them; empty: any."""
    return frozenset(name.lower().encode() for name in settings.host)


def host_name(value: bytes) -> bytes:
    """``Host`` in lower case, without its port."""
    return _PORT.sub(b"", value.lower())


def field_value(text: str, *, quotes: bool = False) -> bytes:
    """Any text as a header's value: what is no printable ASCII gets ``%`` escapes, and so does ``%``; quotes and
    backslashes too, unless ``quotes`` leaves them their meaning.
    """
    safe = _SAFE + '"\\' if quotes else _SAFE
    return quote(text[:512].strip(" "), safe=safe, errors="replace").encode("ascii")
