"""What Envoy says itself: refusals of its own, in the decision service's form, and its log. Neither tells strangers
what Envoy found out about a connection to the model server.
"""

from __future__ import annotations

import json
from typing import Any

from assay.guard.gateway.interface import Decision
from assay.guard.gateway.refusing import OTHER_HOST

V3 = "type.googleapis.com/envoy.extensions"
FILTERS = f"{V3}.filters.http"
ASKED = "envoy.filters.http.ext_authz"
REFUSED = "envoy.filters.http.rbac"
_DENIED = Decision(False, 403, "rule:address", "this address is blocked")
_ENDLESS = Decision(False, 411, "edge", "a body needs its length")
_UPGRADE = Decision(False, 403, "edge", "this is not served here")
_NOWHERE = Decision(False, 404, "route", "nothing is served here")
_DOWN = Decision(False, 503, "edge", "the request could not be judged")
TOLD = tuple(f"x-assay-{name}" for name in ("request-id", "id", "caller", "user", "rule", "status"))
"""What the decision service says of a request, whether it passes or not."""
ADDRESS, LENGTH = _DENIED.rule, _ENDLESS.rule
"""Names of what Envoy refuses without asking."""
_RULE = "enforced_effective_policy_id"


def told(name: str) -> str:
    """One of `TOLD`, for the log or a header."""
    return f"%DYNAMIC_METADATA({ASKED}:{name})%"


_LINE = {
    "requestId": told("x-assay-request-id"),
    "ip": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "caller": told("x-assay-caller"),
    "user": told("x-assay-user"),
    "requestTime": "%START_TIME(%d/%b/%Y:%H:%M:%S +0000)%",
    "httpMethod": "%REQ(:METHOD)%",
    "resourcePath": "%PATH(NQ:PATH):512%",
    "status": "%RESPONSE_CODE%",
    "protocol": "%PROTOCOL%",
    "responseLength": "%BYTES_SENT%",
    "requestTimeEpoch": "%START_TIME(%s%3f)%",
    "extendedRequestId": told("x-assay-id"),
    "responseLatency": "%DURATION%",
    "integrationLatency": "%COMMON_DURATION(US_TX_END:US_RX_BEG:ms)%",
    "requestLength": "%BYTES_RECEIVED%",
    "decision": None,
    "rule": told("x-assay-rule"),
    "error": "%RESPONSE_CODE_DETAILS%",
}
"""Our access log's names; times are milliseconds, numbers are numbers, and what is not known is null."""


def log() -> list[dict[str, Any]]:
    """To standard output, for each request one line of these four."""
    judged, denied, refused = (ASKED, "x-assay-request-id"), (ASKED, "x-assay-status"), (REFUSED, _RULE)
    # Where the caller gave no name of its own the service says one, under which both logs have the request.
    passed = {"decision": "allow", "extendedRequestId": "%REQ(X-ASSAY-ID?X-ASSAY-REQUEST-ID)%"}
    return [
        _logger(_all(_known(*judged), _unknown(*denied)), passed),
        _logger(_known(*denied), {"decision": "deny"}),
        _logger(_known(*refused), {"decision": "deny", "rule": f"%DYNAMIC_METADATA({REFUSED}:{_RULE})%"}),
        _logger(_all(_unknown(*judged), _unknown(*denied), _unknown(*refused)), {}),
    ]


def refusals() -> dict[str, Any]:
    """Bodies of what Envoy refuses itself; those of the decision service stay what they are."""
    asked = {"response_flag_filter": {"flags": ["UAEX"]}}
    unmeasured = _header(":method", string_match={"exact": "POST"}), _header("content-length", present_match=False)
    mappers = [
        # Envoy takes a 5xx of the service for a failure to ask, so that nothing is left of what it said.
        {"filter": _all(asked, _status(503)), **_body(_DOWN)},
        # The service did not understand the question.
        {"filter": _all(asked, _unknown(ASKED, "x-assay-id")), "status_code": 503, **_body(_DOWN)},
        {"filter": asked, "body_format_override": _text("%LOCAL_REPLY_BODY%")},
        # Which rule it was is not known yet.
        {"filter": _all(_status(403), *unmeasured), "status_code": 411, **_body(_ENDLESS)},
        # An address, or the upgrade itself.
        {"filter": _all(_status(403), _header("upgrade", present_match=True)), **_body(_UPGRADE)},
        {"filter": _status(403), **_body(_DENIED)},
        {"filter": _status(404), **_body(_NOWHERE)},
        {"filter": _status(421), **_body(OTHER_HOST)},
    ]
    other = {"error": {"code": "%RESPONSE_CODE%", "rule": "edge", "message": "the request could not be served"}}
    return {"mappers": mappers, "body_format": {"json_format": other}}


def _logger(which: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "envoy.access_loggers.stdout",
        "filter": which,
        "typed_config": {
            "@type": f"{V3}.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": _LINE | values, "omit_empty_values": False},
        },
    }


def _known(by: str, name: str) -> dict[str, Any]:
    """Whether a filter has said something."""
    return _metadata(by, name, {"present_match": True}, otherwise=False)


def _unknown(by: str, name: str) -> dict[str, Any]:
    return _metadata(by, name, {"null_match": {}}, otherwise=True)


def _metadata(by: str, name: str, value: dict[str, Any], *, otherwise: bool) -> dict[str, Any]:
    matcher = {"filter": by, "path": [{"key": name}], "value": value}
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": otherwise}}


def _status(status: int) -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": "assay.status"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _header(name: str, **match: Any) -> dict[str, Any]:
    """Of the request."""
    return {"header_filter": {"header": {"name": name, **match}}}


def _all(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"and_filter": {"filters": list(filters)}}


def _body(decision: Decision) -> dict[str, Any]:
    said = {"code": decision.status, "rule": decision.rule, "message": decision.reason}
    return {"body_format_override": _text(json.dumps({"error": said}))}


def _text(said: str) -> dict[str, Any]:
    return {"text_format_source": {"inline_string": said}, "content_type": "application/json"}
