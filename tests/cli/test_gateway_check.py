"""`assay gateway check`: what would be served, whether it would, and in which words."""

from __future__ import annotations

import json
import os

import pytest

from assay.cli.main import main
from gateway_making import Gateway, attested_model, one_sentence


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Gateway(tmp_path, "http://127.0.0.1:1")


def checked(capfd, *words):
    capfd.readouterr()
    code = main(["gateway", "check", "--config", "gateway.yaml", *words])
    out, err = capfd.readouterr()
    return code, out, err


def test_a_good_file_and_nothing_is_made(file, capfd):
    code, out, err = checked(capfd)
    assert (code, err) == (0, "") and "1 route(s), 0 rule(s)" in out
    assert os.listdir(".") == ["gateway.yaml"]
    code, out, _ = checked(capfd, "--json")
    said = json.loads(out)
    assert code == 0 and said["upstream"] == "http://127.0.0.1:1" and said["model"] is None


def test_a_file_for_the_middleware_and_the_decision_service_names_no_upstream(file, capfd):
    file.write(upstream=None)
    code, out, _ = checked(capfd)
    assert code == 0 and "middleware" in out
    assert main(["gateway", "--config", "gateway.yaml"]) == 2
    assert "names no upstream" in one_sentence(capfd.readouterr().err)


def test_the_model_decides(file, tmp_path, capfd):
    section = attested_model(tmp_path)
    file.write(model=section)
    code, out, _ = checked(capfd, "--json")
    said = json.loads(out)["model"]
    assert code == 0 and said["proved"] and len(said["version"]) == 64 and said["problem"] == ""
    weights = tmp_path / "model" / "weights.bin"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + b"\0")
    code, out, _ = checked(capfd, "--json")
    assert code == 1 and not json.loads(out)["model"]["proved"]
    weights.write_bytes(good)
    file.write(model={**section, "keys": ["none.pub"]})
    code, out, _ = checked(capfd)
    assert code == 2 and "none.pub" in out
    file.write(model={**section, "target": "nowhere"})
    code, out, _ = checked(capfd, "--json")
    assert code == 2 and json.loads(out)["model"]["problem"]
    file.write(model={**section, "policy": "gateway.yaml"})
    code, out, _ = checked(capfd, "--json")
    assert code == 2 and json.loads(out)["model"]["problem"]


def test_somebody_elses_key_proves_nothing(file, tmp_path, capfd):
    section = attested_model(tmp_path)
    assert main(["keys", "generate", "-O", "keys/b.pem"]) == 0
    file.write(model={**section, "keys": ["keys/b.pub"]})
    code, out, _ = checked(capfd, "--json")
    assert code in (1, 3) and not json.loads(out)["model"]["proved"]
    capfd.readouterr()
    assert main(["gateway", "--config", "gateway.yaml"]) == code, "the start says the same"
    assert "is not served" in capfd.readouterr().err
