"""The rules of a starting policy, each with a piece of evidence that satisfies it, for its tests."""

from __future__ import annotations

from typing import Any

_BILL = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "metadata": {
        "component": {"type": "machine-learning-model", "name": "model", "licenses": [{"license": {"id": "MIT"}}]}
    },
    "components": [
        {
            "type": "file",
            "name": "model.safetensors",
            "properties": [{"name": "assay:model:format", "value": "safetensors"}],
        }
    ],
}


def _scan(kind: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "verdict": "safe",
        "scanner": {"uri": "https://example.com/scanner", "version": "1"},
        "files": [{"path": "model.safetensors", "tier": "safe", "findings": []}],
        "skipped": [],
    }


def model() -> dict[str, Any]:
    """What a team should start to demand of models."""
    rules = [
        {
            "id": "model-signed",
            "name": "The model is exactly what its makers signed",
            "risk": "Anybody who can write to where models lie can replace one",
            "mitigation": "Sign every release: assay sign TARGET",
            "basic": True,
            "atlas": ["AML.M0013"],
            "require": {"evidence": "model-signature"},
            "good": ("model-signature", {}),
        },
        {
            "id": "model-described",
            "name": "What the model consists of is known, in formats that run no code",
            "risk": "A pickle runs whatever its author wants when it is loaded",
            "mitigation": "Convert it to safetensors, then: assay bom TARGET -o attest",
            "basic": True,
            "atlas": ["AML.M0023"],
            "require": {"evidence": "cyclonedx", "formats": {"deny": ["pickle", "pytorch-*", "joblib"]}},
            "good": ("cyclonedx", _BILL),
        },
        {
            "id": "model-licensed",
            "name": "The model's licence is known",
            "risk": "Using it may not be allowed",
            "mitigation": "State the licence in the model card, then: assay bom TARGET -o attest",
            "basic": False,
            "require": {"evidence": "cyclonedx", "licences": {}},
            "good": ("cyclonedx", _BILL),
        },
        {
            "id": "model-scanned",
            "name": "A scan found nothing that would run",
            "risk": "Code hides in formats that were thought to be data",
            "mitigation": "Scan it: assay scan TARGET -o attest",
            "basic": False,
            "require": {"evidence": "scan", "max-age": "30d", "scan": {"kind": "models"}},
            "good": ("scan", _scan("models")),
        },
        {
            "id": "model-evaluated",
            "name": "It was evaluated within the last 90 days",
            "risk": "Nobody knows how well it does",
            "mitigation": "Evaluate it: assay attest TARGET --type evaluation --predicate REPORT.json",
            "basic": False,
            "require": {"evidence": "evaluation", "max-age": "90d"},
            "good": ("evaluation", {"dataset": "test", "metrics": {"accuracy": 0.9}}),
        },
    ]
    return {"id": "model", "name": "Models", "for": "model", "rules": rules}


def dataset() -> dict[str, Any]:
    """What a team should start to demand of data sets."""
    rules = [
        {
            "id": "data-described",
            "name": "The data set is exactly what its makers described and signed",
            "risk": "Whoever changes training data changes what is learned",
            "mitigation": "Describe and sign it: assay bom TARGET -o attest",
            "basic": True,
            "atlas": ["AML.M0025"],
            "require": {"evidence": "cyclonedx"},
            "good": ("cyclonedx", _BILL),
        },
        {
            "id": "data-licensed",
            "name": "The data set's licence is known",
            "risk": "Training on it may not be allowed",
            "mitigation": "State the licence in the data card, then: assay bom TARGET -o attest",
            "basic": False,
            "require": {"evidence": "cyclonedx", "licences": {}},
            "good": ("cyclonedx", _BILL),
        },
        {
            "id": "data-personal",
            "name": "A scan for personal data found none",
            "risk": "A model can repeat what it was trained on",
            "mitigation": "Scan it and attest the report: assay attest TARGET --type scan --predicate REPORT.json",
            "basic": False,
            "require": {"evidence": "scan", "max-age": "90d", "scan": {"kind": "pii"}},
            "good": ("scan", _scan("pii")),
        },
    ]
    return {"id": "dataset", "name": "Data sets", "for": "dataset", "rules": rules}
