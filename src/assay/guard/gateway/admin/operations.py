"""What each path of the admin API does: a checked document in, one operation, a document out. No sockets."""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from assay import __version__
from assay.errors import AssayError, DocumentError
from assay.guard.gateway.admin import interface as docs
from assay.guard.gateway.admin.document import NETWORK, openapi
from assay.guard.gateway.admin.interface import Operations
from assay.guard.gateway.interface import Level, Standing

T = TypeVar("T", bound=docs.Document)
JSON = "application/json"
METRICS = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent."""

    status: int
    data: bytes
    kind: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class Problem(Exception):
    """A refusal, as a sentence without what a stranger wrote."""

    def __init__(
        self, status: int, sentence: str, *, hint: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(sentence)
        document = {"error": sentence} | ({"hint": hint} if hint else {})
        self.answer = Answer(status, _encode(document), headers=headers or {})


def answer(operations: Operations, method: str, path: str, body: bytes | None) -> Answer:
    """The answer to a request that `ROUTES` knows. Raises `Problem`."""
    try:
        return ROUTES[path][method](operations, body)
    except AssayError as error:
        raise Problem(409, error.message, hint=error.hint) from None
    except Problem:
        raise
    except Exception as error:  # a defect of ours must neither end the thread nor show its inside
        raise Problem(500, f"a defect of the gateway ({type(error).__name__})") from error


def _read(body: bytes | None, kind: type[T]) -> T:
    """The body as a document. One that is no strict JSON is 400, one of another form 422."""
    from assay.evidence import strict_json

    try:
        raw = strict_json.loads(body or b"", "the body")
    except DocumentError as error:
        raise Problem(400, error.message) from None
    try:
        return msgspec.convert(raw, kind)
    except (msgspec.ValidationError, OverflowError) as error:
        raise Problem(422, f"the body: {error}"[:500]) from None


def _network(address: str) -> str:
    """In its normal form; a host's bits are taken away."""
    try:
        if re.fullmatch(NETWORK[1:-1], address) is None:
            raise ValueError
        return str(ipaddress.ip_network(address, strict=False))
    except ValueError:
        raise Problem(422, "the body: that is no IPv4 or IPv6 address or network") from None


def _encode(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=True, allow_nan=False, default=msgspec.to_builtins).encode() + b"\n"


def _ok(document: Any) -> Answer:
    return Answer(200, _encode(document))


def _plain(document: Any) -> Any:
    """All fields, as JSON has them: it knows no infinity."""
    raw = msgspec.to_builtins(document)
    return {name: _plain(value) if isinstance(value, dict) else _finite(value) for name, value in raw.items()}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _standing(key: str, standing: Standing) -> dict[str, Any]:
    until = _finite(standing.until)
    return {"key": key, "level": standing.level.name.lower(), "until": until, "why": standing.why}


def _done(found: bool, what: str) -> Answer:
    if not found:
        raise Problem(404, what)
    return _ok({"done": True})


def _health(operations: Operations, body: bytes | None) -> Answer:
    found = operations.health()
    return Answer(200 if found.ready else 503, _encode(_plain(found)))


def _metrics(operations: Operations, body: bytes | None) -> Answer:
    return Answer(200, operations.metrics_text().encode(), METRICS)


def _standings(operations: Operations, body: bytes | None) -> Answer:
    return _ok({"standings": [_standing(key, one) for key, one in operations.standings().items()]})


def _set(operations: Operations, body: bytes | None) -> Answer:
    asked = _read(body, docs.SetLevel)
    return _ok(
        _standing(asked.key, operations.set_level(asked.key, Level[asked.level.upper()], asked.seconds, asked.why))
    )


def _release(operations: Operations, body: bytes | None) -> Answer:
    asked = _read(body, docs.Named)
    return _done(operations.release(asked.key, asked.why), "nothing stands against that caller")


def _approve(operations: Operations, body: bytes | None) -> Answer:
    asked = _read(body, docs.Named)
    return _done(operations.approve(asked.key, asked.why), "that caller does not wait for an approval")


def _callers(operations: Operations, body: bytes | None) -> Answer:
    return _ok({"callers": [_plain(one) for one in operations.callers()]})


def _denied(operations: Operations, body: bytes | None) -> Answer:
    return _ok({"denied": [_plain(one) for one in operations.denied()]})


def _deny(operations: Operations, body: bytes | None) -> Answer:
    asked = _read(body, docs.Deny)
    return _ok(_plain(operations.deny(_network(asked.address), asked.seconds, asked.why)))


def _undeny(operations: Operations, body: bytes | None) -> Answer:
    asked = _read(body, docs.Address)
    return _done(operations.undeny(_network(asked.address)), "that address is not on the list")


def _reset(operations: Operations, body: bytes | None) -> Answer:
    return _done(operations.reset(_read(body, docs.Reset).key), "nothing is known of that caller")


def _reload(operations: Operations, body: bytes | None) -> Answer:
    _read(body, docs.Nothing)
    return _ok({"notes": list(operations.reload())})


def _configuration(operations: Operations, body: bytes | None) -> Answer:
    return _ok(operations.configuration())


def _proof(operations: Operations, body: bytes | None) -> Answer:
    return _ok(_plain(operations.proof()))


def _document(operations: Operations, body: bytes | None) -> Answer:
    return _ok(openapi(__version__))


_Does = Callable[[Operations, bytes | None], Answer]
ROUTES: dict[str, dict[str, _Does]] = {
    "/openapi.json": {"GET": _document},
    "/v1/health": {"GET": _health},
    "/v1/metrics": {"GET": _metrics},
    "/v1/standings": {"GET": _standings},
    "/v1/standings/set": {"POST": _set},
    "/v1/standings/release": {"POST": _release},
    "/v1/standings/approve": {"POST": _approve},
    "/v1/callers": {"GET": _callers},
    "/v1/denied": {"GET": _denied, "POST": _deny},
    "/v1/denied/remove": {"POST": _undeny},
    "/v1/counters/reset": {"POST": _reset},
    "/v1/reload": {"POST": _reload},
    "/v1/configuration": {"GET": _configuration},
    "/v1/proof": {"GET": _proof},
}
"""What is asked for each path and method."""
