"""`assay policy generate`: it accepts what it was made from and nothing that lacks a piece, and says its gaps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay import strict_yaml
from assay.errors import AssayError, UndecidedError
from assay.policy import evaluation
from assay.policy.authoring import generating, yaml_text
from assay.policy.authoring.generating import Generated, SignerText
from assay.policy.case import Case, Item
from policy_making import MODEL, case, item, no_engine

CI = {"signer-1": SignerText({"identities": [{"identity": "ci", "issuer": "https://i.example"}]})}
OTHER = "ef" * 32

EVALUATION = {"dataset": {"name": "d", "digest": {"sha256": "ab" * 32}}, "metrics": {"accuracy": 0.9, "eval_loss": 0.1}}
BILL = {
    "bomFormat": "CycloneDX",
    "metadata": {
        "component": {"type": "machine-learning-model", "name": "m", "licenses": [{"expression": "MIT OR Apache-2.0"}]}
    },
    "components": [
        {"type": "file", "name": "m.gguf", "properties": [{"name": "assay:model:format", "value": "gguf"}]},
    ],
}
SCAN = {
    "kind": "models",
    "verdict": "findings",
    "scanner": {"uri": "https://s.example/x", "version": "1"},
    "files": [{"path": "m", "tier": "safe", "findings": [{"rule": "r", "severity": "low", "message": "x"}]}],
    "skipped": [],
}
PROVENANCE = {
    "buildDefinition": {"buildType": "https://t.example/v1", "externalParameters": {}},
    "runDetails": {"builder": {"id": "https://b.example/[1]"}},
}


def by(kind: str, predicate: Mapping[str, Any] | None = None, **changes: Any) -> Item:
    return item(kind, predicate or {}, **{"groups": ("signer-1",), **changes})


def made_from(*items: Item, signers: Mapping[str, SignerText] = CI) -> tuple[Generated, Case]:
    what = case(*items)
    made = generating.generate(what, signers, "m")
    return generating.tried(made, made.policy(), what, no_engine), what


WHOLE = (
    by("model-signature"),
    by("cyclonedx", BILL),
    by("evaluation", EVALUATION, age=timedelta(days=10)),
    by("scan", SCAN),
    by("slsaprovenance", PROVENANCE),
)


def requires(made: Generated) -> dict[str, Any]:
    document = strict_yaml.loads(made.text.encode(), "made")
    return {rule["id"]: rule["require"] for rule in document["controls"][0]["rules"]}


def test_it_demands_exactly_what_was_found() -> None:
    made, _ = made_from(*WHOLE)
    found = requires(made)
    assert (
        set(found) == set(made.rules) == {"model-signature", "cyclonedx", "evaluation", "scan-models", "slsaprovenance"}
    )
    assert found["cyclonedx"]["formats"] == {"allow": ["gguf"]}
    assert found["cyclonedx"]["licences"] == {"allow": ["Apache-2.0", "MIT"]}
    assert found["evaluation"]["metrics"]["require"] == {
        "accuracy": {"minimum": 0.882},
        "eval_loss": {"maximum": 0.102},
    }
    assert found["evaluation"]["metrics"]["datasets"] == ["sha256:" + "ab" * 32]
    assert found["evaluation"]["max-age"] == "20d"
    assert found["scan-models"]["scan"]["max"] == {"critical": 0, "high": 0, "medium": 0, "low": 1}
    assert found["slsaprovenance"]["builder"] == ["https://b.example/[[]1]"]
    assert all(one["signed-by"] == ["signer-1"] for one in found.values())


def test_what_is_loose_is_said_in_the_file_too() -> None:
    made, _ = made_from(*WHOLE)
    text = " ".join(made.loose)
    for words in (
        "no vulnerability scan",
        "accuracy >= 0.882, measured 0.9 (a margin of 2%)",
        "20d",
        "one signer",
        "1 low",
    ):
        assert words in text
    for told in made.loose:
        assert f"# loose: {told.partition(': ')[2]}" in made.text or f"# loose: {told}" in made.text
    assert "accepts any builder" in " ".join(made_from(by("model-signature"))[0].loose)


@pytest.mark.parametrize("gone", range(len(WHOLE)))
def test_without_a_piece_of_evidence_it_rejects(gone: int) -> None:
    made, what = made_from(*WHOLE)
    assert evaluation.evaluate(made.policy(), what, no_engine).accepted
    fewer = case(*(one for i, one in enumerate(WHOLE) if i != gone))
    assert not evaluation.evaluate(made.policy(), fewer, no_engine).accepted


def test_for_other_contents_it_rejects() -> None:
    made, _ = made_from(*WHOLE)
    other = case(*(by(kind, said, subject=OTHER) for kind, said in (("model-signature", {}), ("cyclonedx", BILL))))
    assert not evaluation.evaluate(made.policy(), other, no_engine).accepted
    assert MODEL not in made.text


@pytest.mark.parametrize(
    "worse",
    [
        by("evaluation", {**EVALUATION, "metrics": {"accuracy": 0.88, "eval_loss": 0.1}}),
        by("evaluation", {**EVALUATION, "metrics": {"accuracy": 0.9, "eval_loss": 0.11}}),
        by("evaluation", {**EVALUATION, "dataset": "d"}),
        by("evaluation", EVALUATION, age=timedelta(days=21)),
        by("evaluation", EVALUATION, groups=("somebody",)),
        by("scan", {**SCAN, "kind": "pii"}),
        by("scan", {**SCAN, "scanner": {"uri": "https://other.example/x"}}),
        by("cyclonedx", json.loads(json.dumps(BILL).replace("gguf", "pickle"))),
        by("cyclonedx", json.loads(json.dumps(BILL).replace("MIT OR", "GPL-3.0-only AND"))),
        by("slsaprovenance", json.loads(json.dumps(PROVENANCE).replace("[1]", "1"))),
    ],
)
def test_for_anything_worse_it_rejects(worse: Item) -> None:
    made, _ = made_from(*WHOLE)
    kind = worse.statement.predicate_type
    rest = [one for one in WHOLE if one.statement.predicate_type != kind]
    assert not evaluation.evaluate(made.policy(), case(*rest, worse), no_engine).accepted


def test_what_nobody_expected_signed_is_not_in_it() -> None:
    made, _ = made_from(by("model-signature"), by("evaluation", EVALUATION, by=()), by("scan", SCAN, matched=False))
    assert made.rules == ("model-signature",)
    with pytest.raises(UndecidedError, match="no evidence about this target"):
        made_from(by("model-signature", by=()))
    with pytest.raises(UndecidedError):
        made_from(by("model-signature", discarded=True))


def test_several_signers_all_have_to_sign_again() -> None:
    signers = {**CI, "signer-2": SignerText({"keys": ["signer-2.pub"]}, "signer-2.pub", _pem()), "idle": CI["signer-1"]}
    both = item("model-signature", by=("ann",), groups=("signer-1",))
    ben = item("model-signature", by=("ben",), groups=("signer-2",))
    both = _together(both, ben)
    made, _ = made_from(both, signers=signers)
    assert (
        requires(made)["model-signature"] | {"signed-by": ["signer-1", "signer-2"], "threshold": 2}
        == requires(made)["model-signature"]
    )
    assert set(made.files()) == {"policy.yml", "signer-2.pub"} and "idle" not in made.text
    assert any("signed nothing here" in told for told in made.loose)
    assert not evaluation.evaluate(made.policy(), case(ben), no_engine).accepted


def _together(one: Item, other: Item) -> Item:
    from dataclasses import replace

    return replace(one, proofs=(*one.proofs, *other.proofs))


def _pem() -> bytes:
    from assay.evidence import keys

    return keys.generate("ed25519").public.pem


def test_two_of_a_kind() -> None:
    made, _ = made_from(by("evaluation", EVALUATION, seq=1), by("evaluation", EVALUATION, seq=2))
    assert any("1 more of this kind is there" in told for told in made.loose)
    assert any("may go" in told for told in made.loose)


evil = st.text(max_size=12) | st.sampled_from(
    [
        "\nsigners:",
        "a\n- id: x",
        "# x",
        "${{ inputs.x }}",
        "*",
        "[!a]",
        '"',
        "'",
        "MIT\nsigners: {}",
        "\x1b[2J",
        "\u2028x",
        ": {",
    ]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | evil,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(evil, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(evil, st.floats(allow_nan=False, allow_infinity=False) | values, max_size=3),
    evil,
    evil,
    values,
)
def test_what_a_document_says_never_becomes_policy(
    metrics: dict[str, Any], builder: str, licence: str, anything: Any
) -> None:
    bill = json.loads(json.dumps(BILL))
    bill["metadata"]["component"]["licenses"] = [{"license": {"name": licence}}]
    bill["components"][0]["properties"][0]["value"] = builder
    pieces = [
        by("evaluation", {"dataset": builder, "metrics": metrics}),
        by("evaluation", {"dataset": builder, "metrics": {}, "kind": anything}, seq=2),
        by("cyclonedx", bill),
        by("slsaprovenance", {"runDetails": {"builder": {"id": builder}}, "buildDefinition": {"buildType": licence}}),
        by("scan", {**SCAN, "kind": builder, "files": anything}),
        by("vuln", {"scanner": anything}),
        by("https://other.example/x", {"kind": licence}),
    ]
    try:
        made, what = made_from(*pieces)
    except AssayError as error:
        assert error.message
        return
    document = strict_yaml.loads(made.text.encode(), "made")
    assert list(document) == ["assay-policy", "id", "name", "signers", "controls"]
    assert document["signers"] == {"signer-1": CI["signer-1"].declared} and len(document["controls"]) == 1
    assert all(rule["require"]["signed-by"] == ["signer-1"] for rule in document["controls"][0]["rules"])
    assert evaluation.evaluate(made.policy(), what, no_engine).accepted


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["C"]), max_size=8), values, max_size=4))
def test_yaml_is_read_back_as_the_same_value(value: dict[str, Any]) -> None:
    text = "\n".join(["top:", *yaml_text.block(value, 1)]) if value else "top: {}"
    try:
        back = strict_yaml.loads(text.encode(), "x")
    except AssayError as error:
        assert "control characters" in error.message or "not allowed" in error.message, error.message
        return
    assert back == {"top": value}
