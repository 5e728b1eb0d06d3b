"""Requests as the core hands them to the protocols."""

import json

from assay.guard.gateway.interface import Caller, Context, Decision, Measure, Route, Sample, Usage
from assay.guard.gateway.protocols.routes import Serving, build
from assay.guard.gateway.settings.reading import convert

KEY = b"k" * 32
PATHS = {
    "open-inference": "/v2/models/m/infer",
    "kserve-v1": "/v1/models/m:predict",
    "sagemaker": "/invocations",
    "json": "/predict",
    "chat": "/v1/chat/completions",
    "complete": "/v1/completions",
    "embed": "/v1/embeddings",
    "responses": "/v1/responses",
}


def serving(*routes: dict, schemas=None, **more) -> Serving:
    routes = routes or (
        {"protocol": "open-inference"},
        {"protocol": "kserve-v1"},
        {"protocol": "sagemaker"},
        {"protocol": "openai"},
        {"protocol": "json", "path": "/predict"},
    )
    raw = {"assay-gateway": 1, "routes": list(routes), **more}
    return build(convert(raw, "gateway.yaml", "/"), KEY, schemas)


ALL = serving()


def context(routes: Serving, path: str, content_type: bytes = b"application/json", headers=None, harden="") -> Context:
    found = Context("POST", path.encode(), {b"content-type": content_type, **(headers or {})}, "127.0.0.1", 0.0)
    route = routes.route("POST", PATHS.get(path, path))
    assert isinstance(route, Route), route
    found.route, found.model, found.harden, found.usage = route, route.model, harden, Usage()
    found.caller = Caller("key:1")
    return found


def measure(path: str, body, content_type: bytes = b"application/json", routes: Serving = ALL, headers=None, harden=""):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return routes.measure(context(routes, path, content_type, headers, harden), body)


def rows(*args, **more) -> int:
    measured = measure(*args, **more)
    assert isinstance(measured, Measure), measured
    return measured.rows


def refused(*args, **more) -> int:
    decision = measure(*args, **more)
    assert isinstance(decision, Decision) and not decision.allowed, decision
    return decision.status


def sample(
    routes: Serving, path: str, request=None, response=None, kind=b"application/json", answer=b"application/json"
):
    route = routes.route("POST", PATHS.get(path, path))
    assert isinstance(route, Route)
    return Sample(
        "0" * 32, 0.0, "c", "o", "127.0.0.1", route.protocol, str(route.verb), route.model, "", "", 200, "", 1, 0,
        kind, answer, request, response, True, route.index,
    )  # fmt: skip
