"""What a gateway refuses to begin with, and that `assay gateway check` finds each of these mistakes as well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from assay.cli.main import main
from gateway_making import assay, gateway, gone, model_server, one_sentence, until

MISTAKES = {
    "an unknown key": {"no-such-key": 1},
    "no such plan": {"callers": {"anonymous": "gold"}},
    "no address to listen on": {"listen": ["127.0.0.1:99999"]},
    "nowhere to listen": {"listen": []},
    "a socket whose path is too long": {"listen": ["unix:" + "a" * 120]},
    "no model server's address": {"upstream": "ftp://127.0.0.1"},
    "a path before the model server's": {"upstream": "http://127.0.0.1/api"},
    "an upstream for one route only": {
        "upstream": None,
        "routes": [{"protocol": "openai"}, {"protocol": "kserve-v1", "upstream": "http://127.0.0.1:1"}],
    },
    "a certificate that is not there": {"tls": {"certificate": "none.pem", "key": "none.pem"}},
    "an authority that is none": {"upstream": "https://127.0.0.1:1", "upstream-ca": "gateway.yaml"},
    "a log that is a folder": {"log": {"file": "."}},
    "a log in no folder": {"log": {"file": "none/access.log"}},
    "a field that the log has not": {"log": {"file": "access.log", "drop": ["colour"]}},
    "a folder of captures below a file": {"capture": {"folder": "gateway.yaml/captured"}},
    "a schema that is none": {"routes": [{"protocol": "kserve-v1", "schema": {"file": "gateway.yaml"}}]},
    "a baseline that is none": {"routes": [{"protocol": "kserve-v1", "schema": {"baseline": "gateway.yaml"}}]},
    "keys that are not there": {"callers": {"keys": "none.json"}},
    "a calibration that is none": {"detect": {"mode": "count", "calibration": "gateway.yaml"}},
    "a set of addresses that is none": {
        "rules": [{"id": "a", "priority": 1, "action": "block", "match": {"address-in": "b"}}]
    },
    "an admin API for everybody": {"admin": {"listen": "0.0.0.0:9000"}},
    "a token's folder that is not there": {"admin": {"token": "none/token"}},
    "too many workers": {"workers": 1000},
    "a counter of several machines that is none": {"redis": {"url": "http://127.0.0.1"}},
    "a state folder below a file": {"state": "gateway.yaml/state"},
    "a state folder whose path is too long": {"state": "s" * 100, "admin": None},
    "countries that are not there": {"countries": "none.mmdb"},
    "sinks of alerts that are none": {"alerts": {"sinks": {"a": {"type": "pigeon"}}}},
}


@pytest.fixture(scope="module")
def upstream():
    with model_server() as made:
        yield made


@pytest.mark.parametrize("mistake", MISTAKES)
def test_start_and_check_say_the_same_in_one_sentence(tmp_path, monkeypatch, capfd, mistake):
    monkeypatch.chdir(tmp_path)
    with gateway(tmp_path, "http://127.0.0.1:1", start=False) as made:
        made.write(**MISTAKES[mistake])
    said = []
    for words in (["gateway", "--config", "gateway.yaml"], ["gateway", "check", "--config", "gateway.yaml"]):
        assert main(words) == 2
        out, err = capfd.readouterr()
        said.append(one_sentence(err))
        assert not out
    assert said[0] == said[1]
    assert {"gateway.yaml"} <= set(os.listdir(tmp_path)) <= {"gateway.yaml", "gateway-state"}


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_a_state_folder_that_others_may_write_to_is_refused(tmp_path, monkeypatch, capfd, mode):
    monkeypatch.chdir(tmp_path)
    state = tmp_path / "gateway-state"
    state.mkdir()
    state.chmod(mode)
    with gateway(tmp_path, "http://127.0.0.1:1", start=False):
        for words in (["gateway", "--config", "gateway.yaml"], ["gateway", "check", "--config", "gateway.yaml"]):
            assert main(words) == 2
            assert "it is not yours alone" in one_sentence(capfd.readouterr().err)
    assert not any(state.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make somebody else's folder")
def test_somebody_elses_state_folder_is_refused(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    state = tmp_path / "gateway-state"
    state.mkdir(mode=0o700)
    os.chown(state, 65534, 65534)
    with gateway(tmp_path, "http://127.0.0.1:1", start=False):
        assert main(["gateway", "--config", "gateway.yaml"]) == 2
    assert "it is not yours alone" in one_sentence(capfd.readouterr().err)


def test_damaged_standings_are_refused_and_never_forgotten(tmp_path, upstream, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with gateway(tmp_path, upstream.url, detect={"mode": "count"}) as made:
        assert made.administer("block", "key:thief", "--why", "a test").returncode == 0
        assert made.end() == 0
        for name in ("standings.json", "standings-learned.json"):
            place = tmp_path / "gateway-state" / name
            good = place.read_bytes()
            for bad in (good[:-5], b"", b"{}", b"\0" * len(good), good.replace(b'"version":1', b'"version":2')):
                place.write_bytes(bad)
                for words in ((), ("check",)):
                    assert main(["gateway", *words, "--config", "gateway.yaml"]) == 2, (name, bad)
                    assert "is damaged, and it says who is blocked" in one_sentence(capfd.readouterr().err)
            place.write_bytes(good)
        made.start()
        assert json.loads(made.administer("callers", "--json").stdout)["standings"][0]["key"] == "key:thief"
        assert made.end() == 0


def test_damaged_counters_are_set_aside_and_said(tmp_path, upstream):
    with gateway(tmp_path, upstream.url) as made:
        assert made.status() == 200
        assert made.end() == 0
        place = tmp_path / "gateway-state" / "counters"
        place.write_bytes(b"nonsense" * 1000)
        made.start()
        assert made.status() == 200
        assert "set aside" in made.words()
        assert (tmp_path / "gateway-state" / "counters.damaged-1").read_bytes() == b"nonsense" * 1000
        assert made.end() == 0


def test_a_damaged_key_of_the_state_is_refused(tmp_path, upstream):
    with gateway(tmp_path, upstream.url) as made:
        assert made.end() == 0
        (tmp_path / "gateway-state" / "key").write_bytes(b"short")
        refused = assay("gateway", "--config", "gateway.yaml", folder=tmp_path)
        assert refused.returncode == 2 and "is damaged" in one_sentence(refused.stderr)


def test_a_socket_that_somebody_put_in_the_keepers_place(tmp_path, upstream):
    with gateway(tmp_path, upstream.url) as made:
        assert made.end() == 0
        place, other = tmp_path / "gateway-state" / "keeper.sock", tmp_path / "precious"
        other.write_text("precious")
        place.symlink_to(other)
        made.start()
        assert made.status() == 200 and not place.is_symlink() and place.is_socket()
        assert other.read_text() == "precious"
        assert made.end() == 0


def test_admin_places_that_are_taken_are_one_sentence(tmp_path, upstream):
    (tmp_path / "gateway-admin.sock").write_text("something else")
    with gateway(tmp_path, upstream.url, start=False) as made:
        refused = assay("gateway", "--config", "gateway.yaml", folder=tmp_path)
        assert refused.returncode == 2 and "is no socket" in one_sentence(refused.stderr)
        assert not Path(made.folder / "gateway-state" / "keeper.sock").exists()


def test_the_first_command_of_the_guide_works_at_once(tmp_path, upstream):
    with gateway(tmp_path, upstream.url, start=False) as made:
        made.file.unlink()
        words = [
            "--upstream",
            upstream.url,
            "--listen",
            f"127.0.0.1:{made.port}",
            "--rate",
            "2/d",
            "--access-log",
            "a.log",
        ]
        with open(made.said, "ab") as said:
            made.process = subprocess.Popen(
                [sys.executable, "-m", "assay", "gateway", *words], cwd=tmp_path, stdout=said, stderr=said
            )
        until(lambda: "listens on" in made.words())
        assert [made.status() for _ in range(3)] == [200, 200, 429]
        children = made.children()
        assert made.end() == 0 and gone(children)
    assert len((tmp_path / "a.log").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--upstream", "nonsense"],
        ["--upstream", "http://127.0.0.1:1", "--rate", "many"],
        ["--upstream", "http://127.0.0.1:1", "--listen", "nowhere"],
        ["--upstream", "http://127.0.0.1:1", "--workers", "0"],
        ["--upstream", "http://127.0.0.1:1", "--api-keys", "none.json"],
        ["--upstream", "http://127.0.0.1:1", "-d", "evidence"],
        ["--upstream", "http://127.0.0.1:1", "--policy", "p.yml"],
        ["--upstream", "http://127.0.0.1:1", "--service", "nowhere"],
        ["--config", "none.yaml"],
        ["check", "--config", "none.yaml"],
        ["service", "--config", "none.yaml"],
    ],
)
def test_flags_that_make_no_sense(tmp_path, monkeypatch, capfd, words):
    monkeypatch.chdir(tmp_path)
    assert main(["gateway", *words]) == 2
    one_sentence(capfd.readouterr().err)
    assert os.listdir(tmp_path) == []
