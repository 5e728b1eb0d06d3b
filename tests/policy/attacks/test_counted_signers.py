"""How many people signed, when one of them would like to be two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assay.evidence import keys
from assay.evidence.bundle import build
from assay.evidence.envelope import IN_TOTO, Envelope, Signature, pae
from assay.policy.verdict import Verdict
from policy.attacks.scene import (
    Scene,
    evaluation,
    reasons,
)

ACCURATE = '- {id: r, require: {evidence: evaluation, where: ["accuracy >= 0.9"]}}'


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene.at(tmp_path)


TWO = "- {id: r, require: {evidence: evaluation, signed-by: [alice, bob], threshold: 2%s}}"


def two(scene: Scene, more: str = "") -> str:
    return scene.policy(TWO % more, signers=["alice", "bob"])


def test_two_signers_in_one_document_or_in_two(scene: Scene) -> None:
    scene.attest("alice")
    assert scene.verdict(two(scene)) is Verdict.UNTRUSTED
    scene.attest("bob")
    assert scene.verdict(two(scene)) is Verdict.PASS


@pytest.mark.parametrize("signatures", [("alice", "alice"), ("alice", "mallory"), ("alice", "alice", "mallory")])
def test_one_signer_is_one_however_often(scene: Scene, signatures: tuple[str, ...]) -> None:
    scene.attest(*signatures)
    scene.attest("alice", said={"note": "again"})
    assert scene.verdict(two(scene)) is Verdict.UNTRUSTED


def test_one_key_in_two_groups_and_two_encodings_is_one_signer(scene: Scene) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    secret = rsa.generate_private_key(65537, 2048)
    for name, form in (("one", PublicFormat.SubjectPublicKeyInfo), ("two", PublicFormat.PKCS1)):
        (scene.root / f"{name}.pub").write_bytes(secret.public_key().public_bytes(Encoding.PEM, form))
    pem = secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    payload = scene.statement()
    private = keys.load_private(pem, "key", None)
    signatures = tuple(Signature(private.sign(pae(IN_TOTO, payload))) for _ in range(2))
    scene.add(build(Envelope(payload, IN_TOTO, signatures)).raw)
    policy = scene.root / "rsa.yml"
    policy.write_text(
        "assay-policy: 1\nid: p\nsigners: {a: {keys: [one.pub]}, b: {keys: [two.pub]}}\ncontrols:\n- id: c\n  rules:\n"
        "  - {id: r, require: {evidence: evaluation, signed-by: [a, b], threshold: 2}}\n"
        "  - {id: s, require: {evidence: evaluation, signed-by: [a, b]}}\n"
    )
    decision = scene.decide(str(policy))
    assert [result.verdict for result in decision.results] == [Verdict.UNTRUSTED, Verdict.PASS], reasons(decision)


@pytest.mark.parametrize(
    ("said", "demand"),
    [
        ({"context": {"git_branch": "feature"}}, ', where: ["context.git_branch == main"]'),
        ({"labels": {"approved": "no"}}, ", labels: {approved: 'yes'}"),
        ({"labels": {"approved": "no"}}, ", where: [\"labels.approved == 'yes'\"]"),
        ({"time": "2020-01-01T00:00:00Z"}, ", max-age: 7d"),
    ],
)
def test_one_of_two_cannot_say_more_than_the_other(scene: Scene, said: dict[str, Any], demand: str) -> None:
    """Bob signed the same report, and nothing of what only alice says of its origin."""
    honest = {"context": {"git_branch": "main"}, "labels": {"approved": "yes"}}
    scene.attest("alice", said=honest)
    scene.attest("bob", said=honest | said)
    assert not scene.decide(two(scene, demand)).accepted
    scene.attest("bob", said=honest)
    assert scene.verdict(two(scene, demand)) is Verdict.PASS


def test_two_different_reports_are_not_one_by_two(scene: Scene) -> None:
    scene.attest("alice", predicate=evaluation(0.95))
    scene.attest("bob", predicate=evaluation(0.96))
    assert scene.verdict(two(scene)) is Verdict.UNTRUSTED


def test_a_signature_that_was_taken_back_does_not_count(scene: Scene) -> None:
    scene.attest("alice")
    scene.discard(scene.attest("bob", said={"by": "bob"}))
    assert scene.verdict(two(scene)) is Verdict.UNTRUSTED
