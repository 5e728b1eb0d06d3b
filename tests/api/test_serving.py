"""What is known of the served model, asked again and again; and gateway files that name a baseline."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

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
    later = datetime.now(UTC).replace(year=datetime.now(UTC).year + 1)
    assert serving.judge(settings, now=later).exit_code in (1, 3)
    assert replace(serving.judge(settings), problem="").version == serving.judge(settings).version


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
    (tmp_path / "baseline.json").write_text("{}")
    with pytest.raises(AssayError, match=r"baseline\.json"):
        serving.read("gateway.yaml")
