"""Which requests are served at all."""

import pytest

from assay.errors import AssayError, DocumentError, UsageError
from assay.guard.gateway.interface import Decision, Measure, Permission, Route, Verb
from assay.guard.gateway.permissions import permitted
from assay.guard.gateway.protocols.routes import build
from assay.guard.gateway.settings.reading import convert
from guard.gateway.protocols.asking import ALL, context, measure, refused, serving


def found(method, path, routes=ALL) -> Route:
    route = routes.route(method, path)
    assert isinstance(route, Route), (path, route)
    return route


def status(method, path, routes=ALL) -> int:
    decision = routes.route(method, path)
    assert isinstance(decision, Decision), (path, decision)
    return decision.status


def test_protocols_paths_say_verb_model_and_version():
    one = found("POST", "/v2/models/fraud/versions/3/infer")
    assert (one.protocol, one.verb, one.model, one.version) == ("open-inference", Verb.INFER, "fraud", "3")
    assert one.path == "/v2/models/{model}/versions/{version}/infer"
    assert found("POST", "/v1/models/a b:explain").verb is Verb.EXPLAIN
    assert found("POST", "/v1/models/m/versions/2:predict").version == "2"
    assert found("POST", "/v1/models/m/labels/canary:predict").version == "canary"
    assert found("GET", "/v2").verb is Verb.METADATA
    assert found("GET", "/v2/models/m/ready").verb is Verb.HEALTH
    assert found("GET", "/ping").verb is Verb.HEALTH
    assert found("POST", "/v1/chat/completions").verb is Verb.CHAT
    assert found("POST", "/v1/embeddings").verb is Verb.EMBED
    assert found("POST", "/predict").protocol == "json"


@pytest.mark.parametrize(
    "path",
    [
        "/", "", "/v2/", "/v2/models", "/v2/models/m/infer/", "/v2//models/m/infer", "/V2/models/m/infer",
        "/v2/repository/index", "/v2/repository/models/m/load", "/v2/repository/models/m/unload",
        "/v2/models/stats", "/v2/models/m/stats", "/v2/models/m/trace/setting", "/v2/trace/setting", "/v2/logging",
        "/v2/systemsharedmemory/status", "/v2/cudasharedmemory/region/r/register", "/v2/models/m/generate",
        "/v2/models/m/generate_stream", "/v2/models/m/config", "/v2/models/m:x/infer",
        "/v2/models/stats/infer",
        "/metrics", "/docs", "/openapi.json", "/tokenize", "/detokenize", "/pooling", "/score", "/rerank", "/classify",
        "/v1/score", "/v1/rerank", "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/sleep", "/wake_up",
        "/collective_rpc", "/reset_prefix_cache", "/start_profile", "/v1/files", "/v1/audio/transcriptions",
        "/v1/responses/resp_1", "/v1/chat/completions/", "/inference/v1/generate", "/invocations/x", "/models",
        "/v1/models/m:delete", "/v1/models/m/versions/1/x", "/predict/", "/predict/x", "/v1/models/m:predict:explain",
    ],
)  # fmt: skip
def test_what_is_not_listed_is_denied(path):
    assert status("POST", path) in (404, 405)
    assert status("DELETE", path) in (404, 405)
    assert status("GET", path) in (404, 405)


def test_methods_are_exact():
    for method, path in (
        ("GET", "/invocations"), ("PUT", "/v2/models/m/infer"), ("POST", "/ping"), ("get", "/ping"),
        ("DELETE", "/v2/models/m"), ("GET", "/v1/chat/completions"), ("HEAD", "/predict"), ("CONNECT", "/v2"),
    ):  # fmt: skip
        assert status(method, path) == 405


def test_prefix_models_and_verbs_narrow_a_route():
    routes = serving(
        {"protocol": "open-inference", "path": "/team/a", "models": ["fraud-*"], "verbs": ["infer", "health"]},
        {"protocol": "open-inference", "path": "/team/b/", "models": ["other"]},
    )
    assert found("POST", "/team/a/v2/models/fraud-1/infer", routes).index == 0
    assert found("POST", "/team/b/v2/models/other/infer", routes).path == "/team/b/v2/models/{model}/infer"
    assert found("GET", "/team/a/v2/health/live", routes).verb is Verb.HEALTH
    for path in ("/v2/models/fraud-1/infer", "/team/a/v2/models/other/infer", "/team/av2/models/fraud-1/infer",
                 "/team/b/v2/models/fraud-1/infer", "/team/a/team/a/v2/models/fraud-1/infer"):  # fmt: skip
        assert status("POST", path, routes) == 404
    assert status("GET", "/team/a/v2/models/fraud-1", routes) == 404  # metadata was not asked for


def test_models_that_the_body_or_a_header_names_are_checked_too():
    routes = serving({"protocol": "openai", "models": ["small*"]}, {"protocol": "sagemaker", "models": ["a", "b"]})
    chat = {"model": "small-1", "messages": []}
    assert isinstance(measure("chat", chat, routes=routes), Measure)
    assert refused("chat", chat | {"model": "large"}, routes=routes) == 404
    target = {b"x-amzn-sagemaker-target-model": b"c"}
    assert refused("sagemaker", [[1]], routes=routes, headers=target) == 404
    measured = measure("sagemaker", [[1]], routes=routes, headers={b"x-amzn-sagemaker-target-model": b"b"})
    assert isinstance(measured, Measure) and measured.model == "b"
    for bad in (b"", b"a, b", b"\xff", b"x" * 300):
        assert refused("sagemaker", [[1]], routes=routes, headers={b"x-amzn-sagemaker-target-model": bad}) == 400
    one = serving({"protocol": "sagemaker", "models": ["fraud"]})
    assert found("POST", "/invocations", one).model == "fraud"


def test_a_caller_of_one_model_reaches_no_other_by_header():
    only = (Permission(model="a"),)
    route = Route("sagemaker", Verb.INFER, "", "", "/invocations")
    assert permitted(only, route)  # asked again, once the header is read
    assert not permitted(only, route, final=True)
    assert not permitted(only, Route("sagemaker", Verb.INFER, "b", "", "/invocations"), final=True)
    assert permitted(only, Route("sagemaker", Verb.INFER, "a", "", "/invocations"), final=True)
    pinned = (Permission(model="a", version="1"),)
    assert not permitted(pinned, Route("sagemaker", Verb.INFER, "a", "2", "/invocations"), final=True)
    assert not permitted(pinned, Route("open-inference", Verb.INFER, "a", "", "/v2"))


def test_settings_that_make_no_sense_are_told():
    with pytest.raises(DocumentError, match="no verb"):
        serving({"protocol": "openai", "verbs": ["dance"]})
    with pytest.raises(DocumentError, match="no path into a body"):
        serving({"protocol": "json", "path": "/p", "rows": "instances[*]"})
    with pytest.raises(AssayError, match="neither a file nor a baseline"):
        serving({"protocol": "sagemaker", "schema": {}})
    with pytest.raises(UsageError, match="not read"):
        serving({"protocol": "sagemaker", "schema": {"baseline": "b.json"}})
    settings = convert({"assay-gateway": 1, "hardenings": {"n": {"noise": 0.1}}}, "g", "/")
    with pytest.raises(UsageError, match="key"):
        build(settings)


def test_no_meter_where_nothing_is_streamed():
    assert ALL.meter(context(ALL, "sagemaker")) is None
    assert ALL.meter(context(ALL, "chat")) is not None
