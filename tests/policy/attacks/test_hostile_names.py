"""What strangers wrote into evidence and file names, shown to people."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from assay.api.verdicts import attest_verdict
from assay.cli.deciding import rendered
from assay.cli.main import printable
from assay.errors import AssayError
from assay.policy.documents import table
from assay.policy.verdict import Verdict
from policy.attacks.scene import BILL, EVALUATION, NOW, PROVENANCE, Scene, evaluation, provenance

ACCURATE = '- {id: r, require: {evidence: evaluation, where: ["accuracy >= 0.9"]}}'


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene.at(tmp_path)


# 5: what the predicate says, shown to people

NASTY = (
    "\x1b[2K\x1b]0;owned\x07\r\n\u202eevil\u2066<script>alert(1)</script>|`x`](javascript:1) \x00\x9b31m" + "A" * 5000
)


def shown(scene: Scene, rule: str) -> dict[str, str]:
    decision = scene.decide(rule)
    assert not decision.accepted
    forms = {form: rendered(decision, form).decode() for form in ("json", "sarif", "markdown")}
    return forms | {"table": table.render(decision, verbose=True, width=100, colour=False)}


@pytest.mark.parametrize(
    ("kind", "predicate", "rule"),
    [
        (EVALUATION, {"dataset": NASTY, "metrics": {NASTY: 1}}, ACCURATE),
        (EVALUATION, evaluation(NASTY), ACCURATE),
        (PROVENANCE, provenance(NASTY), '- {id: r, require: {evidence: slsaprovenance, builder: "https://good"}}'),
        (
            PROVENANCE,
            provenance(NASTY),
            '- {id: r, require: {evidence: slsaprovenance, builder: {id: "*", signed-by: {keys: [bob.pub]}}}}',
        ),
        (
            BILL,
            {"bomFormat": "CycloneDX", "components": [{"name": NASTY, "licenses": [{"license": {"name": NASTY}}]}]},
            '- {id: r, require: {evidence: cyclonedx, where: ["components[*].name == good"]}}',
        ),
    ],
)  # fmt: skip
def test_hostile_names_steer_no_terminal_and_no_page(
    scene: Scene, kind: str, predicate: dict[str, object], rule: str
) -> None:
    scene.public("bob")
    scene.attest(
        "alice", kind=kind, predicate=predicate, said={"labels": {NASTY: NASTY}, "context": {"git_branch": NASTY}}
    )
    for form, text in shown(scene, rule).items():
        steering = [char for char in text if unicodedata.category(char) in ("Cc", "Cf") and char != "\n"]
        assert not steering, (form, steering)
        assert len(text) < 60_000, form
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(shown(scene, rule)["markdown"])
    assert "<script" not in page and "href" not in page


def test_hostile_values_that_differ_steer_nothing(scene: Scene) -> None:
    for i, kind in enumerate((EVALUATION, PROVENANCE)):
        predicate = evaluation() if kind == EVALUATION else provenance("b")
        scene.attest(
            "alice",
            kind=kind,
            predicate=predicate,
            said={"context": {"run_id": NASTY + str(i)}, "revision": f"{i}{NASTY}"},
        )
    for field in ("run_id", "revision"):
        rule = f"- {{id: r, require: {{evidence: {{a: evaluation, b: slsaprovenance}}, same: [{field}]}}}}"
        for form, text in shown(scene, rule).items():
            assert not [char for char in text if unicodedata.category(char) in ("Cc", "Cf") and char != "\n"], form


@pytest.mark.parametrize(
    "name", ["\x1b[2Kconfig.json", "line\nbreak", "\u202egnp.exe", "<script>.py", "`|](x) **", "\udc80"]
)
def test_hostile_names_of_files(scene: Scene, name: str) -> None:
    """Names in the target that were not there when its list of files was signed."""
    import assay
    from assay.api.signers import SignWith

    assay.sign(str(scene.model), signer_choice=SignWith(key=scene.private("alice")), directory=scene.store, now=NOW)
    scene.write({name: b"x"})
    try:
        texts = shown(scene, "- {id: r, require: {evidence: model-signature}}")
    except AssayError as error:
        texts = {"error": printable(str(error))}
    for form, text in texts.items():
        assert not [char for char in text if unicodedata.category(char) in ("Cc", "Cf") and char != "\n"], form


def test_a_verdict_about_hostile_evidence_can_be_signed_and_read_again(scene: Scene) -> None:
    from assay.api.signers import SignWith

    scene.attest("alice", predicate=evaluation(NASTY))
    decision = scene.decide(ACCURATE)
    attest_verdict(decision, SignWith(key=scene.private("alice")), directory=scene.store)
    assert scene.decide('- {id: r, require: {evidence: verdict, where: ["accepted == false"]}}').accepted
    assert not scene.decide('- {id: r, require: {evidence: verdict, where: ["accepted == true"]}}').accepted


@pytest.mark.parametrize("predicate", [
    {"metrics": "accuracy"}, {"metrics": []}, {"metrics": {"accuracy": None}}, {"metrics": {"accuracy": "0.95"}},
    {"metrics": {"accuracy": True}}, {"metrics": {"accuracy": [0.95]}}, {"metrics": {"accuracy": {"value": 0.95}}},
    {"metrics": {"Accuracy": 0.95}}, {"metrics": {"accuracy ": 0.95}}, {}, {"accuracy": None},
])  # fmt: skip
def test_what_looks_like_an_answer_is_none(scene: Scene, predicate: dict[str, object]) -> None:
    """A threshold holds for a number that is there and for nothing else."""
    scene.attest("alice", predicate=predicate)
    assert scene.verdict(ACCURATE) is Verdict.FAIL


def test_depth_and_size_end_in_a_verdict(scene: Scene) -> None:
    deep: object = 0.95
    for _ in range(400):
        deep = {"accuracy": deep}
    scene.attest("alice", predicate={"metrics": deep, "wide": list(range(50_000))})
    decision = scene.decide(ACCURATE)
    assert not decision.accepted
    two = "- {id: r, require: {evidence: evaluation, signed-by: [alice, bob], threshold: 2}}"
    scene.attest("bob", predicate={"metrics": deep, "wide": list(range(50_000))})
    assert scene.decide(scene.policy(two, signers=["alice", "bob"])).verdict in (Verdict.PASS, Verdict.ERROR)
