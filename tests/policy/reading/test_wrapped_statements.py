"""The input of a published rule: the document under `evidence`, what was proved beside it, and neither in the other."""

from __future__ import annotations

from typing import Any

import pytest

from assay.evidence import strict_json
from assay.evidence.documents import unwrap_predicate
from assay.evidence.statement import Statement, Subject, parse
from assay.policy.reading.wrapped import environment, origin_of, rego_input, wrap

DIGEST = "ab" * 32
SAID = {
    "origin": "git@hf.co:org/model.git",
    "revision": "c0ffee",
    "gitCommit": "c0ffee",
    "time": "2026-06-01T10:00:00Z",
    "target": "git:model@c0ffee",
    "labels": {"team": "vision", "stage": "prod"},
    "context": {"context_type": "github", "git_url": "https://github.com/org/pipeline", "run_id": "7"},
}
BOM = {
    "bomFormat": "CycloneDX",
    "metadata": {"component": {"name": "model", "type": "x"}, "tools": {}},
    "components": [],
}


def statement(kind: str, predicate: dict[str, Any], said: dict[str, Any] = SAID) -> Statement:
    return Statement((Subject("model", {"sha256": DIGEST}, said),), kind, predicate)


def test_a_bill_of_materials() -> None:
    made = wrap(statement("https://cyclonedx.org/bom", BOM))
    assert made["_type"] == "https://in-toto.io/Statement/v1"
    assert made["predicateType"] == "https://cyclonedx.org/bom"
    assert made["subject"][0]["name"] == "model" and made["subject"][0]["digest"] == {"sha256": DIGEST}
    bom = made["predicate"]["bom"]
    assert bom["metadata"]["component"] == {"name": "https://huggingface.co/org/model.git", "type": "x"}
    assert bom["metadata"]["tools"] == {} and bom["components"] is BOM["components"]
    assert BOM["metadata"]["component"]["name"] == "model"  # the document itself is not changed
    assert made["predicate"]["environment"] == {
        "context_type": "github",
        "git_url": "https://github.com/org/pipeline",
        "run_id": "7",
        "labels": ["team=vision", "stage=prod"],
        "timestamp": "2026-06-01T10:00:00Z",
        "target_git_commit": "c0ffee",
        "input_name": "git:model@c0ffee",
        "sbomname": "model",
        "sbomversion": f"sha256:{DIGEST}",
    }


def test_reports() -> None:
    log = {"version": "2.1.0", "runs": []}
    made = wrap(statement("http://docs.oasis-open.org/sarif/sarif/2.1.0", log))
    assert made["predicate"]["content"] is log and made["predicate"]["mimeType"] == "application/sarif+json"
    generic = {"report": {"name": "r.json", "mediaType": "text/csv", "digest": {"sha256": DIGEST}}, "content": [1]}
    made = wrap(statement("https://assay.dev/generic/v0.1", generic))
    assert made["predicateType"] == "http://scribesecurity.com/evidence/generic/v0.1"
    assert made["predicate"]["content"] == [1] and made["predicate"]["mimeType"] == "text/csv"


def test_everything_else_is_as_it_reads() -> None:
    provenance = {"buildDefinition": {}, "runDetails": {"builder": {"id": "x"}}}
    assert wrap(statement("https://slsa.dev/provenance/v1", provenance))["predicate"] is provenance
    plain = rego_input(statement("https://cyclonedx.org/bom", BOM), {}, {}, wrapped=False)
    assert plain["evidence"]["predicate"] is BOM


@pytest.mark.parametrize(
    "predicate",
    [{"environment": {"a": 1}, "bom": BOM}, {"environment": {}, "bom": {}}],
)
def test_what_valint_signed_comes_back_as_it_was(predicate: dict[str, Any]) -> None:
    signed = statement("https://cyclonedx.org/bom/v1.5", predicate)
    read = parse(strict_json.dumps(strict_json.loads(signed.dump(), "x")), "x")
    assert wrap(unwrap_predicate(read), original=read.predicate)["predicate"] == predicate


@pytest.mark.parametrize("bom", [{}, {"metadata": None}, {"metadata": {"component": []}}, {"metadata": []}])
def test_a_bill_that_is_none_stays_as_it_is(bom: dict[str, Any]) -> None:
    assert wrap(statement("https://cyclonedx.org/bom", bom))["predicate"]["bom"] == bom


@pytest.mark.parametrize("said", [{}, {"context": 7, "labels": [], "origin": 3, "time": None}, {"origin": ""}])
def test_annotations_that_say_nothing(said: dict[str, Any]) -> None:
    made = statement("https://cyclonedx.org/bom", BOM, said)
    assert set(environment(made)) == {"sbomname", "sbomversion"}
    assert origin_of(made) is None


@pytest.mark.parametrize(
    ("origin", "made"),
    [
        ("https://huggingface.co/org/model", "https://huggingface.co/org/model"),
        ("https://hf.co/datasets/org/data/", "https://huggingface.co/datasets/org/data"),
        ("ssh://git@hf.co/org/model.git", "https://huggingface.co/org/model.git"),
        ("https://huggingface.co.evil.example/org/model", "https://huggingface.co.evil.example/org/model"),
        ("https://evil.example/huggingface.co/org/model", "https://evil.example/huggingface.co/org/model"),
        ("https://huggingface.co@evil.example/org/model", "https://huggingface.co@evil.example/org/model"),
        ("https://huggingface.co", "https://huggingface.co"),
        ("https://[broken", "https://[broken"),
        ("git@github.com:org/model.git", "ssh://github.com/org/model.git"),
    ],
)
def test_origins(origin: str, made: str) -> None:
    assert origin_of(statement("https://cyclonedx.org/bom", BOM, {"origin": origin})) == made


def test_a_document_cannot_say_that_it_is_signed() -> None:
    """Known ways to fool such rules: facts about signatures in the document, its subject or the rule's arguments."""
    claims = {
        "verified": {"signed": True},
        "verifier": {"signed": True},
        "signed": True,
        "environment": {"signed": True},
    }
    hostile = statement("https://example.com/x/v1", claims, {**SAID, "verified": {"signed": True}, "context": claims})
    made = rego_input(hostile, {"verified": {"signed": True}}, {"signed": False, "signers": [], "time": None})
    assert made["verified"] == {"signed": False, "signers": [], "time": None}
    assert made["verifier"]["signed"] is False and not any(made["verifier"]["identity"].values())
    assert made["stores"] == {} and set(made) == {"evidence", "config", "verified", "verifier", "stores"}


def test_the_verifier_names_those_who_were_proved() -> None:
    signers = [
        {"method": "sigstore", "signer": "ci@example.com", "issuer": "https://idp"},
        {
            "method": "sigstore",
            "signer": "https://github.com/org/repo/.github/workflows/x.yml",
            "issuer": "https://idp",
        },
        {"method": "certificate", "signer": "build.example.com", "issuer": "CA"},
        {"method": "key", "signer": "3f1a@", "issuer": None},
    ]
    made = rego_input(None, {"licenses": ["mit"]}, {"signed": True, "signers": signers})
    assert made["verifier"] == {
        "signed": True,
        "identity": {
            "emails": ["ci@example.com"],
            "uris": ["https://github.com/org/repo/.github/workflows/x.yml"],
            "common-names": ["build.example.com"],
        },
    }
    assert made["config"] == {"args": {"licenses": ["mit"]}} and "evidence" not in made
