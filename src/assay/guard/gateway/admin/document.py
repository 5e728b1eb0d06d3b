"""The OpenAPI 3.1 document of the admin API, as data. The limits in it are those that `interface` enforces."""

from __future__ import annotations

from typing import Any

from assay.guard.gateway.admin.interface import LONGEST, WORDS

_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_HEX = "[0-9a-fA-F]{1,4}"
_IPV6 = "|".join(
    [f"({_HEX}:){{7}}{_HEX}", f"({_HEX}:){{1,7}}:", "::"]
    + [f"({_HEX}:){{1,{7 - n}}}(:{_HEX}){{1,{n}}}" for n in range(1, 7)]
    + [f":(:{_HEX}){{1,7}}"]
)
NETWORK = rf"^(({_OCTET}\.){{3}}{_OCTET}(/(3[0-2]|[12]?[0-9]))?|({_IPV6})(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?)$"
"""An IPv4 or IPv6 address, alone or with the length of a network's prefix. RFC 4632, 3.1; RFC 4291, 2.2 and 2.3."""

_LEVELS = ["ok", "log", "slow", "harden", "approve", "block"]
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_NUMBER = {"type": "number"}
_COUNT = {"type": "integer", "minimum": 0}
_KEY = {
    "type": "string",
    "minLength": 1,
    "maxLength": 1024,
    "pattern": WORDS,
    "description": "a caller's id, owner:… or net:…",
}
_WHY = {"type": "string", "minLength": 1, "maxLength": 500, "pattern": WORDS}
_SPAN = {
    "type": ["number", "null"],
    "exclusiveMinimum": 0,
    "maximum": LONGEST,
    "description": "seconds; null: until a person ends it",
}
_ADDRESS = {"type": "string", "minLength": 2, "maxLength": 49, "pattern": NETWORK}
_UNTIL = {"type": ["number", "null"], "description": "UNIX seconds; null: without end"}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None, *, more: bool = False) -> dict[str, Any]:
    made = {"type": "object", "properties": required | (optional or {}), "required": list(required)}
    return made if more else made | {"additionalProperties": False}


SCHEMAS: dict[str, Any] = {
    "SetLevel": _object({"key": _KEY, "level": {"enum": _LEVELS}, "why": _WHY}, {"seconds": _SPAN}),
    "Named": _object({"key": _KEY, "why": _WHY}),
    "Deny": _object({"address": _ADDRESS, "why": _WHY}, {"seconds": _SPAN}),
    "Address": _object({"address": _ADDRESS}),
    "Reset": _object({"key": _KEY}),
    "Nothing": _object({}),
    "Error": _object({"error": _TEXT}, {"hint": _TEXT}),
    "Done": _object({"done": {"const": True}}),
    "Health": _object({"ready": {"type": "boolean"}, "problems": _TEXTS, "workers": _COUNT}),
    "Standing": _object({"key": _TEXT, "level": {"enum": _LEVELS}, "until": _UNTIL, "why": _TEXT}),
    "Standings": _object({"standings": {"type": "array", "items": {"$ref": "#/components/schemas/Standing"}}}),
    "CallerFigures": _object(
        {
            "id": _TEXT,
            "owner": _TEXT,
            "plan": _TEXT,
            "level": {"enum": _LEVELS},
            "why": _TEXT,
            "requests": _COUNT,
            "refused": _COUNT,
            "rows": _COUNT,
            "tokens": _COUNT,
            "seen": _NUMBER,
            "scores": {"type": "object", "additionalProperties": {"type": ["number", "null"]}},
        }
    ),
    "Callers": _object({"callers": {"type": "array", "items": {"$ref": "#/components/schemas/CallerFigures"}}}),
    "Denied": _object({"address": _TEXT, "until": _UNTIL, "why": _TEXT}),
    "DeniedList": _object({"denied": {"type": "array", "items": {"$ref": "#/components/schemas/Denied"}}}),
    "Reloaded": _object({"notes": _TEXTS}),
    "Proof": _object(
        {"version": _TEXT, "verdict": _TEXT, "serving": {"type": "boolean"}, "reason": _TEXT, "checked": _NUMBER}
    ),
    "Configuration": {"type": "object"},
}


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _error(description: str) -> dict[str, Any]:
    return {"description": description, "content": _json("Error")}


_ALWAYS = {
    "400": _error("the request cannot be read"),
    "401": _error("the token is missing or wrong")
    | {"headers": {"WWW-Authenticate": {"required": True, "schema": _TEXT}}},
    "403": _error("the request comes from a web page"),
    "421": _error("the request is for another host"),
    "500": _error("a defect of the gateway"),
}
_NOT_FOUND = {"404": _error("there is no such caller or address")}
_CONFLICT = {"409": _error("the gateway cannot do that at the moment, and says why")}


def _get(name: str, summary: str, schema: str, **more: Any) -> dict[str, Any]:
    answers = {"200": {"description": "so it is", "content": _json(schema)}, **_ALWAYS, **more}
    return {"operationId": name, "summary": summary, "responses": answers}


def _post(name: str, summary: str, takes: str, gives: str, *more: dict[str, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {
        "200": {"description": "done", "content": _json(gives)},
        **_ALWAYS,
        "411": _error("the body's length is not said"),
        "413": _error("the body is too large"),
        "415": _error("the body is not application/json"),
        "422": _error("the body is not what it must be"),
    }
    for one in more:
        answers |= one
    body = {"required": True, "content": _json(takes)}
    return {"operationId": name, "summary": summary, "requestBody": body, "responses": answers}


def openapi(version: str) -> dict[str, Any]:
    """The document, for the running ``version`` of assay."""
    unready = {"503": {"description": "it does not serve", "content": _json("Health")}}
    metrics = _get("metrics", "Prometheus' text format", "Configuration")
    metrics["responses"]["200"]["content"] = {"text/plain": {"schema": _TEXT}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "assay gateway admin", "version": version, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": {
            "/openapi.json": {"get": _get("openapi", "this document", "Configuration")},
            "/v1/health": {"get": _get("health", "how the gateway is", "Health", **unready)},
            "/v1/metrics": {"get": metrics},
            "/v1/standings": {"get": _get("standings", "who is treated otherwise than others", "Standings")},
            "/v1/standings/set": {
                "post": _post("set_level", "treat a caller so from now on", "SetLevel", "Standing", _CONFLICT)
            },
            "/v1/standings/release": {
                "post": _post("release", "treat a caller as any other", "Named", "Done", _NOT_FOUND, _CONFLICT)
            },
            "/v1/standings/approve": {
                "post": _post("approve", "let a waiting caller go on", "Named", "Done", _NOT_FOUND, _CONFLICT)
            },
            "/v1/callers": {"get": _get("callers", "callers, the most remarkable first", "Callers")},
            "/v1/denied": {
                "get": _get("denied", "addresses that are refused", "DeniedList"),
                "post": _post("deny", "refuse an address or network", "Deny", "Denied", _CONFLICT),
            },
            "/v1/denied/remove": {
                "post": _post("undeny", "refuse it no longer", "Address", "Done", _NOT_FOUND, _CONFLICT)
            },
            "/v1/counters/reset": {
                "post": _post("reset", "forget what a caller has used", "Reset", "Done", _NOT_FOUND, _CONFLICT)
            },
            "/v1/reload": {"post": _post("reload", "read the configuration anew", "Nothing", "Reloaded", _CONFLICT)},
            "/v1/configuration": {"get": _get("configuration", "what is at work, without secrets", "Configuration")},
            "/v1/proof": {"get": _get("proof", "what is known of the served model", "Proof")},
        },
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
