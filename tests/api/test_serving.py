"""What is known of the served model, asked again and again; and gateway files that name a baseline."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars
import pytest
import yaml

from assay.api import serving
from assay.cli.main import main
from assay.errors import AssayError
from gateway_making import Gateway, attested_model


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Gateway(tmp_path, "http://127.0.0.1:1")


def test_each_answer_is_a_fresh_one_and_only_another_one_is_said(file, tmp_path):
    file.write(model=attested_model(tmp_path))
    said = []
    prove = serving.prover(serving.read("gateway.yaml"), said.append)
    weights = tmp_path / "model" / "weights.bin"
    good, first = weights.read_bytes(), prove(True)
    assert first.refusal is None and len(first.version) == 64 and said == []
    weights.write_bytes(good[::-1])  # as large as before
    bad = [prove(False) for _ in range(3)]
    assert all(one.refusal is not None and one.refusal.status == 503 for one in bad) and len(said) == 1
    weights.write_bytes(good)
    assert prove(False) == first and prove(False) == first
    assert len(said) == 2 and "is proved, and served" in said[1]
    (tmp_path / "evidence").rename(tmp_path / "gone")
    for path in tmp_path.glob("model*.sig"):
        path.unlink()
    assert prove(False).refusal is not None and len(said) == 3


def test_what_is_served_with_a_warning_has_no_refusal(file, tmp_path):
    section = attested_model(tmp_path)
    (tmp_path / "model" / "weights.bin").write_bytes(b"another")
    file.write(model={**section, "unproved": "warn"})
    said = []
    prove = serving.prover(serving.read("gateway.yaml"), said.append)
    assert prove(True).refusal is None and prove(False).refusal is None
    assert len(said) == 1 and "served although it is not proved" in said[0]


def test_no_model_needs_no_proof(file):
    assert serving.prover(serving.read("gateway.yaml"), lambda _: None) is None


def test_evidence_that_is_too_old_proves_nothing_any_more(file, tmp_path):
    rule = "{id: r, name: R, risk: R, require: {evidence: model-signature, max-age: 1d}}"
    policy = f"assay-policy: 1\nid: p\nname: P\nversion: 1\ncontrols:\n- {{id: c, name: C, rules: [{rule}]}}\n"
    (tmp_path / "policy.yml").write_text(policy)
    file.write(model={**attested_model(tmp_path), "policy": "policy.yml"})
    settings = serving.read("gateway.yaml")
    assert serving.judge(settings).exit_code == 0
    later = datetime.now(UTC) + timedelta(days=365)
    assert serving.judge(settings, now=later).exit_code in (1, 3)
    assert replace(serving.judge(settings), problem="").version == serving.judge(settings).version


def test_the_rule_that_is_named_is_the_one_that_does_not_accept(file, tmp_path):
    rules = "{id: other, name: Other gate, risk: R, when: {gate: train}, require: {evidence: model-signature}}"
    rules += ", {id: bill, name: Bill of materials, risk: R, require: {evidence: sbom}}"
    policy = f"assay-policy: 1\nid: p\nname: P\nversion: 1\ncontrols:\n- {{id: c, name: C, rules: [{rules}]}}\n"
    (tmp_path / "policy.yml").write_text(policy)
    file.write(model={**attested_model(tmp_path), "policy": "policy.yml", "gate": "deploy"})
    judged = serving.judge(serving.read("gateway.yaml"))
    assert "Bill of materials" in judged.problem and "Other gate" not in judged.problem


def test_a_rule_that_was_broken_is_named_before_one_without_evidence(file, tmp_path):
    rules = "{id: bill, name: Bill of materials, risk: R, require: {evidence: sbom}}"
    rules += ", {id: signed, name: Signature, risk: R, require: {evidence: model-signature}}"
    policy = f"assay-policy: 1\nid: p\nname: P\nversion: 1\ncontrols:\n- {{id: c, name: C, rules: [{rules}]}}\n"
    (tmp_path / "policy.yml").write_text(policy)
    file.write(model={**attested_model(tmp_path), "policy": "policy.yml"})
    (tmp_path / "model" / "weights.bin").write_bytes(b"another")
    problem = serving.judge(serving.read("gateway.yaml")).problem
    assert problem.startswith("the policy p says fail: Signature:") and "weights.bin" in problem


AT_SERVE = "{id: watched, name: Watched, risk: R, when: {gate: serve}, require: {evidence: monitoring}}"
SIGNED = "{id: signed, name: Signed, risk: R, require: {evidence: model-signature}}"


def test_a_mistyped_gate_of_the_gateway_file_proves_nothing(file, tmp_path, capsys):
    policy = "assay-policy: 1\nid: p\nname: P\nversion: 1\ncontrols:\n"
    (tmp_path / "policy.yml").write_text(f"{policy}- {{id: c, name: C, rules: [{AT_SERVE}, {SIGNED}]}}\n")
    model = {**attested_model(tmp_path), "policy": "policy.yml"}
    file.write(model={**model, "gate": "serv"})
    judged = serving.judge(serving.read("gateway.yaml"))
    assert (judged.exit_code, judged.version) == (2, "") and "almost 'serve'" in judged.problem
    assert serving.prover(serving.read("gateway.yaml"), lambda _: None)(True).refusal.status == 503
    assert main(["gateway", "--config", "gateway.yaml"]) == 2 and "almost 'serve'" in capsys.readouterr().err


def test_a_gate_of_the_gateway_file_that_no_rule_names_is_told(file, tmp_path, capsys):
    policy = "assay-policy: 1\nid: p\nname: P\nversion: 1\ncontrols:\n"
    (tmp_path / "policy.yml").write_text(f"{policy}- {{id: c, name: C, rules: [{AT_SERVE}, {SIGNED}]}}\n")
    section = {**attested_model(tmp_path), "policy": "policy.yml"}
    file.write(model={**section, "gate": "staging"})
    warning = "no rule of this policy is for the gate 'staging' (it names: serve)"
    judged = serving.judge(serving.read("gateway.yaml"))
    assert (judged.problem, judged.warnings) == ("", (warning,))
    capsys.readouterr()
    assert main(["gateway", "check", "--config", "gateway.yaml"]) == 0 and warning in capsys.readouterr().out
    assert main(["gateway", "check", "--config", "gateway.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["warnings"] == [warning]
    with socket.create_server(("127.0.0.1", 0)) as taken:  # so that the gateway ends as soon as it has started
        port = taken.getsockname()[1]
        file.write(model={**section, "gate": "staging"}, listen=[f"127.0.0.1:{port}"])
        assert main(["gateway", "--config", "gateway.yaml"]) == 2
        assert f"assay: {warning}\n" in capsys.readouterr().err


def test_a_baseline_becomes_a_schema_in_the_state_folder(file, tmp_path):
    frame = polars.DataFrame({"a": [float(i) for i in range(100)], "b": [i % 7 for i in range(100)]})
    frame.write_csv("data.csv")
    assert main(["baseline", "data.csv", "-O", "baseline.json", "-q"]) == 0
    file.write(routes=[{"protocol": "kserve-v1", "schema": {"baseline": "baseline.json", "leave-out": ["b"]}}])
    read = serving.read("gateway.yaml")
    schema = read.routes[0].schema
    assert schema.baseline is None and schema.file.startswith(str(tmp_path / "gateway-state"))
    with open(schema.file) as made:
        assert [column["name"] for column in yaml.safe_load(made)["columns"]] == ["a"]
    assert serving.read("gateway.yaml") == read, "a reload reads the same"
    before = Path(schema.file).read_text()
    polars.DataFrame({"a": ["x", "y"] * 50, "b": [0, 1] * 50}).write_csv("data.csv")
    assert main(["baseline", "data.csv", "-O", "baseline.json", "-q"]) == 0
    # A reload that fails later, or 'check': whatever still has the old configuration reads what it was made with.
    assert serving.read("gateway.yaml").routes[0].schema.file != schema.file
    assert Path(schema.file).read_text() == before
    (tmp_path / "baseline.json").write_text("{}")
    with pytest.raises(AssayError, match=r"baseline\.json"):
        serving.read("gateway.yaml")
