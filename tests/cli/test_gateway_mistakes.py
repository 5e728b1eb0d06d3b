"""What people get wrong around the gateway: a sentence, what helps, the right exit code, and nothing destroyed."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from assay.cli.main import main
from assay.guard.gateway.detect.flags import WORDS
from assay.guard.gateway.settings.keeping import SIGNALS
from gateway_making import Gateway, one_sentence


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Gateway(tmp_path, "http://127.0.0.1:1")


def asked(capfd, *words):
    """Exit code, standard output, standard error."""
    capfd.readouterr()
    code = main(["gateway", *words])
    return code, *capfd.readouterr()


def test_an_export_never_writes_over_files_of_somebody_else(file, capfd):
    Path("README.md").write_text("# My project\n")
    code, _, err = asked(capfd, "export", "nginx", "--config", "gateway.yaml", "-O", ".")
    assert code == 2 and "was not written by 'assay gateway export'" in one_sentence(err)
    assert Path("README.md").read_text() == "# My project\n" and not Path("nginx.conf").exists()
    Path("etc").mkdir()
    Path("etc/nginx.conf").write_text("events {}\n")
    assert asked(capfd, "export", "nginx", "--config", "gateway.yaml", "-O", "etc")[0] == 2
    assert Path("etc/nginx.conf").read_text() == "events {}\n"


def test_an_export_may_be_made_anew(file, capfd):
    for _ in range(2):
        assert asked(capfd, "export", "nginx", "--config", "gateway.yaml", "-O", "edge")[0] == 0
        Path("edge/nginx.conf").write_text("# changed\n")
    Path("also").mkdir()
    Path("also/notes.txt").write_text("mine\n")
    assert asked(capfd, "export", "nginx", "--config", "gateway.yaml", "-O", "also")[0] == 0
    assert Path("also/notes.txt").read_text() == "mine\n"


def test_root_is_told_that_its_nginx_may_not_ask_the_service(file, capfd, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert "see --user" in asked(capfd, "export", "nginx", "--config", "gateway.yaml", "-O", "edge")[2]
    assert "--user" not in asked(capfd, "export", "nginx", "--config", "gateway.yaml", "-O", "edge", "--user", "www")[2]
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "--user" not in asked(capfd, "export", "nginx", "--config", "gateway.yaml", "-O", "edge")[2]


def test_a_key_of_a_plan_that_the_file_has_not_is_told(file, capfd):
    assert asked(capfd, "keys", "create", "--owner", "shop", "--plan", "partner", "-O", "shop.key")[0] == 0
    file.write(callers={"keys": "gateway-keys.json"})
    code, out, _ = asked(capfd, "check", "--config", "gateway.yaml")
    assert code == 0 and "is refused: there is no plan 'partner'" in out
    code, out, _ = asked(capfd, "check", "--config", "gateway.yaml", "--json")
    assert len(json.loads(out)["notes"]) == 1
    file.write(callers={"keys": "gateway-keys.json"}, plans={"partner": {}})
    assert "refused" not in asked(capfd, "check", "--config", "gateway.yaml")[1]


@pytest.mark.parametrize("allowed", ["verb=infr", "protocol=kserve", "model=loans,verb=predict*"])
def test_a_permission_that_means_nothing_makes_no_key(file, capfd, allowed):
    code, _, err = asked(capfd, "keys", "create", "--owner", "shop", "--allow", allowed)
    assert code == 2 and "there is no" in one_sentence(err) and not Path("gateway-keys.json").exists()


@pytest.mark.parametrize("allowed", ["verb=inf*", "protocol=kserve-v?,verb=infer", "model=anything", "verb=*"])
def test_a_permission_that_means_something_makes_one(file, capfd, allowed):
    assert asked(capfd, "keys", "create", "--owner", "shop", "--allow", allowed)[0] == 0


def test_what_is_no_file_of_keys_is_told_with_what_makes_one(file, capfd):
    Path("keys.yaml").write_text("keys: []\n")
    Path("keys.yaml").chmod(0o600)
    code, _, err = asked(capfd, "keys", "list", "-f", "keys.yaml")
    assert code == 2 and "'assay gateway keys create' makes a file of keys" in err


@pytest.mark.parametrize("missing", [True, False])
def test_a_baseline_that_is_none_is_told_with_what_makes_one(file, capfd, missing):
    if not missing:
        Path("baseline.json").write_text("age: 3\n")
    file.write(routes=[{"protocol": "kserve-v1", "schema": {"baseline": "baseline.json"}}])
    code, _, err = asked(capfd, "check", "--config", "gateway.yaml")
    assert code == 2 and "assay baseline DATA" in err


def test_a_taken_port_is_told_with_what_helps(file, capfd):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        code, _, err = asked(capfd, "--upstream", "http://127.0.0.1:1", "--listen", place)
    assert code == 2 and f"cannot listen on {place}: Address already in use" in err and "--listen" in err


def test_alerts_are_not_told_as_those_of_another_file(file, capfd):
    file.write(alerts={"sinks": [{"typ": "file"}]})
    Path("gateway.yaml").rename("mine.yaml")
    code, _, err = asked(capfd, "check", "--config", "mine.yaml")
    assert code == 2 and "gateway.yaml" not in err and "alerts" in err


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        ({"match": {"adress-in": "office"}}, "did you mean 'address-in'?"),
        ({"match": {"address-in": "office"}}, "'addresses' names none"),
        ({"rate": {"limit": 10, "windw": 60}}, "did you mean 'window'?"),
        ({"rate": {"limit": "ten"}}, "a whole number is expected here, not text"),
    ],
)
def test_a_mistake_in_a_rule_is_told_with_what_was_meant(file, capfd, rule, hint):
    file.write(rules=[{"id": "flood", "priority": 1, "action": "block", **rule}])
    code, _, err = asked(capfd, "check", "--config", "gateway.yaml")
    assert code == 2 and "rule flood" in one_sentence(err) and hint in err


@pytest.mark.parametrize("section", [{"signals": ["outlier"]}, {"reactions": {"by-signal": {"outlier": "block"}}}])
def test_a_signal_that_nobody_looks_for_is_told(file, capfd, section):
    file.write(detect=section)
    code, _, err = asked(capfd, "check", "--config", "gateway.yaml")
    assert code == 2 and "there is no signal 'outlier' (there are: near, far, outlying," in one_sentence(err)


def test_the_signals_of_the_file_are_those_of_the_detectors(file, capfd):
    file.write(detect={"signals": [*SIGNALS, "pooled"], "reactions": {"by-signal": dict.fromkeys(SIGNALS, "log")}})
    assert asked(capfd, "check", "--config", "gateway.yaml")[0] == 0
    assert {name.partition(":")[0] for name in SIGNALS} == set(WORDS)


def test_a_file_that_lets_nobody_call_is_told(file, capfd):
    file.write(callers={})
    code, out, _ = asked(capfd, "check", "--config", "gateway.yaml")
    assert code == 0 and "nobody may call" in out
    file.write(callers={"anonymous": "default"})
    assert "nobody may call" not in asked(capfd, "check", "--config", "gateway.yaml")[1]


def test_a_key_set_that_cannot_be_read_is_told(file, capfd):
    file.write(callers={"jwt": [{"issuer": "https://login.example", "audience": ["a"], "jwks": "jwks.json"}]})
    code, out, _ = asked(capfd, "check", "--config", "gateway.yaml")
    assert code == 0 and "jwks.json cannot be read" in out
    Path("jwks.json").write_text('{"keys": []')
    assert "jwks.json" in asked(capfd, "check", "--config", "gateway.yaml")[1]
    private = ec.generate_private_key(ec.SECP256R1())
    Path("jwks.json").write_text(json.dumps({"keys": [json.loads(ECAlgorithm.to_jwk(private.public_key()))]}))
    assert "jwks.json" not in asked(capfd, "check", "--config", "gateway.yaml")[1]


def test_the_file_may_be_named_before_the_action(file, capfd):
    for words in (["check"], ["export", "nginx", "-O", "edge"], ["keys", "create", "--owner", "shop", "-O", "k"]):
        assert asked(capfd, *words)[0] == (0 if "keys" in words else 2)
    file.write(callers={"keys": "mine.json"}, admin={"listen": "unix:mine.sock"})
    assert asked(capfd, "--config", "gateway.yaml", "keys", "create", "--owner", "shop", "-O", "shop.key")[0] == 0
    assert Path("mine.json").exists()
    code, out, _ = asked(capfd, "--config", "gateway.yaml", "check")
    assert code == 0 and "gateway.yaml is a gateway file" in out
    assert asked(capfd, "--config", "gateway.yaml", "export", "nginx", "-O", "edge")[0] == 0
    Path("mine.token").touch(0o600)
    Path("mine.token").write_text("t" * 43)
    Path("gateway.yaml").rename("other.yaml")
    code, _, err = asked(capfd, "--config", "other.yaml", "status", "--token", "mine.token")
    assert code == 3 and "mine.sock" in err


def test_a_flag_that_is_not_known_is_not_taken_for_an_action(file, capfd):
    code, _, err = asked(capfd, "--port", "8000")
    assert code == 2 and "'assay gateway' does not know --port" in one_sentence(err)
    assert "did you mean --upstream?" in asked(capfd, "--upsteam", "http://127.0.0.1:1")[2]
    assert "invalid choice: '8000'" in asked_badly(capfd, "--rate", "10/s", "8000")


def test_a_broken_file_still_leaves_a_way_to_the_running_gateway(file, capfd):
    file.write(plans={"default": {"raet": "10/s"}})
    code, _, err = asked(capfd, "status", "--config", "gateway.yaml")
    assert code == 2 and "did you mean 'rate'?" in err and "--admin LISTEN with --token FILE" in err


def asked_badly(capfd, *words):
    """Standard error of what is not understood at all."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as left:
        main(["gateway", *words])
    assert left.value.code == 2
    return capfd.readouterr().err


def test_open_telemetry_is_an_extra_of_its_own(file, capfd, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("opentelemetry.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter", None)
    file.write(otlp={"endpoint": "http://127.0.0.1:1"})
    code, _, err = asked(capfd, "check", "--config", "gateway.yaml")
    assert code == 3 and "needs the extra 'otel'" in err
