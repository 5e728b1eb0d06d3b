from __future__ import annotations

import ipaddress
import json
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway_edges as edges
from assay.errors import AssayError, UndecidedError, UsageError
from assay.guard.gateway.edge import EDGES, Place, export, push
from assay.guard.gateway.edge.first_line import Flood
from assay.guard.gateway.edge.paths import PATHS, pattern
from assay.guard.gateway.edge.plan import SYSTEM, plan
from assay.guard.gateway.service import asking
from assay.guard.gateway.settings.serving import RouteSettings

PLACE = Place("unix:/run/assay/decide.sock")
UP = {"upstream": "http://10.1.2.3:8080"}


def test_a_service_that_others_reach_is_refused(tmp_path: Path) -> None:
    settings = edges.settings(tmp_path, **UP)
    for place in (Place("10.0.0.1:9", secret="x" * 20), Place("127.0.0.1:9"), Place("127.0.0.1:9", secret="short")):
        with pytest.raises(UsageError):
            plan(settings, place)
    with pytest.raises(UsageError, match="leads nowhere"):
        plan(edges.settings(tmp_path), PLACE)
    with pytest.raises(UsageError, match="no edge"):
        export(settings, "apache", PLACE)


def test_what_an_edge_cannot_do_is_said(tmp_path: Path) -> None:
    said = {
        "plans": {"default": {"concurrent": 3, "rows": {"day": 5}}},
        "capture": {"folder": "captured"},
        "sizes": {"response": 100},
        "pass-credentials": True,
        "countries": "c.mmdb",
        "rules": [{"id": "first", "priority": 1, "action": "allow"}, edges.blocking({}) | {"priority": 2}],
    }
    for edge in EDGES:
        made = export(edges.settings(tmp_path, **(UP | said)), edge, PLACE)
        text = " ".join(made.notes)
        for word in (
            "503",
            "concurrent",
            "Capture",
            "sizes.response",
            "pass-credentials",
            "countries",
            "'first'",
            "head only",
        ):
            assert word in text
        readme = made.files["README.md"].decode()
        assert all(note in readme for note in made.notes) and "assay gateway service" in readme


def test_every_path_of_a_protocol_has_a_way_and_others_have_none() -> None:
    ways = {
        "open-inference": (
            "/v2",
            "/v2/health/ready",
            "/v2/models/m",
            "/v2/models/m/versions/1/infer",
            "/v2/models/m/ready",
        ),
        "kserve-v1": (
            "/v1/models/m",
            "/v1/models/m:predict",
            "/v1/models/m/versions/2:predict",
            "/v1/models/m:explain",
        ),
        "sagemaker": ("/ping", "/invocations"),
        "openai": ("/v1/models", "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"),
    }
    none = ("/metrics", "/v2/repository/index", "/v2/models/m/load", "/v1/sleep", "/tokenize", "/invocations/x", "/")
    for protocol in PATHS:
        route = RouteSettings(protocol=protocol)  # type: ignore[arg-type]
        expression = pattern(route, "")
        assert all(re.search(expression, path) for path in ways[protocol])
        assert not any(re.search(expression, path) for path in none)
        prefixed = pattern(route, "/a.b/")
        assert all(re.search(prefixed, "/a.b" + path) for path in ways[protocol])
        assert not any(re.search(prefixed, "/aXb" + path) for path in ways[protocol])
    assert re.search(pattern(RouteSettings(protocol="json", path="/p"), "/p"), "/p")


WORDS = (
    "v1 v2 models m versions 1 infer ready live health metadata stats config labels l m:predict m:explain m:classify"
)
WORDS += " m:regress chat completions embeddings responses ping invocations generate"
HEADS = "/v1 /v2 /v1/chat /v2/health /v1/models /v2/models /v1/models/m /v2/models/m /v2/models/m/versions"
HEADS += (
    " /v1/models/m/labels /v1/models/m/versions /v2/models/m/versions/1 /v1/models/m/versions/1 /v1/models/m/labels/l"
)


def test_what_is_served_has_a_way(tmp_path: Path) -> None:
    from assay.guard.gateway.interface import Route
    from assay.guard.gateway.protocols.routes import build

    settings = edges.settings(tmp_path, **UP, routes=[{"protocol": name} for name in PATHS])
    serving = build(settings, b"k" * 32)
    expressions = [one.pattern for one in plan(settings, PLACE).locations]
    asked = [f"{head}/{word}" for head in ["", *HEADS.split()] for word in WORDS.split()]
    served = [path for path in asked if any(type(serving.route(verb, path)) is Route for verb in ("GET", "POST"))]
    assert [path for path in served if not any(re.search(one, path) for one in expressions)] == []
    assert len(served) > 15


@given(st.integers(1, 10**6), st.integers(1, 86400))
def test_a_rate_is_rounded_in_favour_of_the_caller(limit: int, window: int) -> None:
    assert Flood(limit, window).per_minute * window >= limit * 60


def test_networks_are_brought_together_and_checked(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("# ours\n; theirs\n10.0.1.0/24  # second\n\n2001:db8::/32 ; SBL123\n")
    addresses = {"x": {"networks": ["10.0.0.0/24"], "file": "more.txt"}}
    settings = edges.settings(
        tmp_path, **UP, addresses=addresses, rules=[edges.blocking({"address-in": ["x", "192.0.2.1"]})]
    )
    made = plan(settings, PLACE)
    assert {str(one) for one in made.denied} == {"10.0.0.0/23", "192.0.2.1/32", "2001:db8::/32"}
    assert (
        export(settings, "nginx", PLACE).files["denied.conf"] == b"10.0.0.0/23 1;\n192.0.2.1/32 1;\n2001:db8::/32 1;\n"
    )


def test_envoy_asks_before_it_passes_on_and_closes_when_it_cannot(tmp_path: Path) -> None:
    tls = {"certificate": "/c.pem", "key": "/k.pem", "client-ca": "/ca.pem", "client-certificates": "required"}
    values = {"tls": tls, "addresses": {"x": ["10.0.0.0/8"]}, "rules": [edges.blocking({"address-in": "x"})]}
    routes = [{"protocol": "open-inference"}, {"protocol": "json", "path": "/p", "schema": {}, "websocket": True}]
    settings = edges.settings(tmp_path, **(UP | values), routes=routes)
    document = json.loads(export(settings, "envoy", Place("unix:/run/d.sock", "unix:/run/g.sock")).files["envoy.yaml"])
    chain = document["static_resources"]["listeners"][0]["filter_chains"][0]
    manager = chain["filters"][0]["typed_config"]
    names = [one["name"] for one in manager["http_filters"]]
    order = ["rbac", "buffer", "question", "ext_authz", "forwarded", "router"]
    assert [name.rpartition(".")[2] for name in names] == order
    filters = dict(zip(names, manager["http_filters"], strict=True))
    ask = filters["envoy.filters.http.ext_authz"]["typed_config"]
    assert ask["failure_mode_allow"] is False and ask["http_service"]["server_uri"]["cluster"] == "assay_service"
    # Envoy itself refuses the paths of kserve-v1 without it.
    (layer,) = document["layered_runtime"]["layers"]
    assert layer["static_layer"]["re2"]["max_program_size"]["error_level"] > 1000
    assert manager["normalize_path"] is False and manager["path_with_escaped_slashes_action"] == "REJECT_REQUEST"
    assert chain["transport_socket"]["typed_config"]["require_client_certificate"] is True
    mutations = filters["assay.question"]["typed_config"]["mutations"]["request_mutations"]
    gone = [one["remove"] for one in mutations if "remove" in one]
    said = {one["append"]["header"]["key"]: one["append"] for one in mutations if "append" in one}
    kept = {name for name, one in said.items() if one["append_action"] == "OVERWRITE_IF_EXISTS"}
    assert kept == {"authorization", "x-request-id", "user-agent", "x-api-key"}  # the first of several lines
    said = {name: one for name, one in said.items() if name not in kept}
    # Taken away first: a value that is empty, as without a certificate, would leave the caller's in its place.
    assert {name.decode() for name in asking.OURS} == set(gone) >= said.keys()
    assert all("remove" in one for one in mutations[: len(gone)])
    assert {"x-original-method", "x-original-uri", "x-real-ip", "x-client-cert"} <= said.keys()
    forgotten = [one["remove_on_match"]["key_matcher"]["prefix"] for one in mutations if "remove_on_match" in one]
    assert forgotten == ["x-assay-", "x-envoy-"]  # what the service says, and what the router would do
    assert all(one["append_action"] == "OVERWRITE_IF_EXISTS_OR_ADD" for one in said.values())
    asked, unmeasured, through, rest = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert rest["direct_response"]["status"] == 404
    forged = {"x-forwarded-user", "x-original-url", "x-http-method-override"}
    assert {"authorization", "x-api-key", *forged} <= set(asked["request_headers_to_remove"])
    assert asked["route"]["host_rewrite_literal"] == "10.1.2.3:8080"
    # A body that declares no length is waited for, so that the service is told one.
    assert "envoy.filters.http.buffer" in unmeasured["typed_per_filter_config"]
    assert asked["match"]["headers"] == [{"name": "content-length", "present_match": True}]
    bounds = document["static_resources"]["clusters"][0]["circuit_breakers"]["thresholds"][0]
    assert bounds["max_connections"] == settings.connections > 1024, "which is Envoy's own bound"
    assert through["route"]["upgrade_configs"]
    disabled = through["typed_per_filter_config"]["envoy.filters.http.ext_authz"]["disabled"]
    assert disabled and "envoy.filters.http.ext_authz" not in asked.get("typed_per_filter_config", {})
    clusters = {one["name"]: one for one in document["static_resources"]["clusters"]}
    place = clusters[through["route"]["cluster"]]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
    assert place["endpoint"]["address"]["pipe"]["path"] == "/run/g.sock"  # who is not asked about goes where it is


@pytest.mark.parametrize("edge", EDGES)
def test_nobody_else_vouches_for_a_model_server_than_the_settings_say(tmp_path: Path, edge: str) -> None:
    there = {"upstream": "https://model.example", "upstream-ca": "ours.pem"}
    for values, name in ((there, f"{tmp_path}/ours.pem"), ({"upstream": there["upstream"]}, SYSTEM)):
        made = b"".join(export(edges.settings(tmp_path, **values), edge, PLACE).files.values()).decode()
        assert name in made and (SYSTEM in made) == (name == SYSTEM)
    with pytest.raises(AssayError, match="upstream-ca"):
        export(edges.settings(tmp_path, **there | {"upstream-ca": "a;b"}), edge, PLACE)


@pytest.mark.parametrize(
    ("host", "kind"), [("model.example", "DNS"), ("10.1.2.3", "IP_ADDRESS"), ("[::1]", "IP_ADDRESS")]
)
def test_envoy_looks_for_the_name_or_address_of_a_model_server(tmp_path: Path, host: str, kind: str) -> None:
    settings = edges.settings(tmp_path, upstream=f"https://{host}")
    document = json.loads(export(settings, "envoy", PLACE).files["envoy.yaml"])
    socket = document["static_resources"]["clusters"][1]["transport_socket"]["typed_config"]
    (wanted,) = socket["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]
    assert wanted == {"san_type": kind, "matcher": {"exact": host.strip("[]")}}


def test_sizes_of_nothing_are_said_and_written(tmp_path: Path) -> None:
    sizes = {"line": 0, "headers": 0, "body": 0}
    for edge in EDGES:
        assert export(edges.settings(tmp_path, **UP, sizes=sizes), edge, PLACE).files
    made = export(edges.settings(tmp_path, **UP, sizes=sizes), "nginx", PLACE)
    assert b"large_client_header_buffers 2 1024;" in made.files["nginx.conf"]
    assert b"client_max_body_size 0;" not in made.files["nginx.conf"], "which is any size"
    assert any("1024" in note for note in made.notes)


def test_push_says_what_it_could_not_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        push(["10.0.0.1"], "nginx", str(tmp_path))
    with pytest.raises(UsageError, match="cannot be pushed"):
        push(["10.0.0.1"], "envoy", str(tmp_path))
    (tmp_path / "nginx.conf").touch()
    with pytest.raises(AssayError, match="no address"):
        push(["10.0.0.1 1; } evil {"], "nginx", str(tmp_path))
    assert not (tmp_path / "pushed.conf").exists()
    with pytest.raises(UndecidedError, match="could not be told"):
        push(["10.0.0.1", "10.0.0.1"], "nginx", str(tmp_path))
    with subprocess.Popen(["sleep", "60"]) as other:
        for left_behind in (other.pid, -other.pid, 0, -1):
            (tmp_path / "nginx.pid").write_text(f"{left_behind}\n")
            with pytest.raises(UndecidedError, match="could not be told"):
                push(["10.0.0.1"], "nginx", str(tmp_path))
        assert other.poll() is None, "it was told to end"
        other.kill()
    line = (tmp_path / "pushed.conf").read_text()
    assert ipaddress.ip_network(line.split()[0]) and line.count("\n") == 1


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    from assay.cli import gateway_export

    (tmp_path / "gateway.yaml").write_text(
        "assay-gateway: 1\nupstream: http://127.0.0.1:1\nroutes: [{protocol: sagemaker}]\n"
    )
    parser = argparse.ArgumentParser()
    gateway_export.configure(parser.add_subparsers())
    folder = tmp_path / "edge"
    (tmp_path / "secret").write_text("0123456789abcdefg\n")
    words = ["export", "nginx", "--config", str(tmp_path / "gateway.yaml"), "-O", str(folder)]
    words += ["--service", "127.0.0.1:9", "--secret", str(tmp_path / "secret"), "--user", "nobody", "--json"]
    parsed = parser.parse_args(words)
    assert parsed.run(parsed) == 0
    printed = capsys.readouterr()
    made = json.loads(printed.out)
    assert {Path(one).name for one in made["files"]} == {"nginx.conf", "denied.conf", "pushed.conf", "README.md"}
    assert printed.err.count("note: ") == len(made["notes"]) > 0
    assert (folder / "nginx.conf").stat().st_mode & 0o777 == 0o600  # it knows the secret
    (folder / "pushed.conf").write_text("10.0.0.1 1;\n")
    assert parsed.run(parsed) == 0 and (folder / "pushed.conf").read_text() == "10.0.0.1 1;\n"
