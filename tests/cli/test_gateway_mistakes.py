"""What people get wrong around the gateway: a sentence, what helps, the right exit code, and nothing destroyed."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest

from assay.cli.main import main
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


def test_open_telemetry_is_an_extra_of_its_own(file, capfd, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("opentelemetry.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter", None)
    file.write(otlp={"endpoint": "http://127.0.0.1:1"})
    code, _, err = asked(capfd, "check", "--config", "gateway.yaml")
    assert code == 3 and "needs the extra 'otel'" in err
