"""Targets that bring their own configuration, signatures and policies."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from assay.api.anchors import TrustIn
from assay.api.deciding import Deciding, decide
from assay.config import load
from assay.errors import AssayError, UsageError
from assay.policy.verdict import Verdict
from policy.attacks.scene import NOW, Scene, dump
from sigstore_double import Deployment, Server

pytest_plugins = ["sigstore_double.fixture"]

ACCURATE = '- {id: r, require: {evidence: evaluation, where: ["accuracy >= 0.9"]}}'


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene.at(tmp_path)


# 3: what a target brings along


@pytest.mark.parametrize(
    "words", ["policy: {use: own.yml}", "trust: [{keys: [evil.pub]}]", "evidence: store", "alerts: {}"]
)
@pytest.mark.parametrize("where", ["", "code"])
@pytest.mark.parametrize("named", [True, False])
def test_configuration_found_in_the_target_decides_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, words: str, where: str, named: bool
) -> None:
    """Not its policy, its signers or its store; not with a policy named either."""
    scene.attest("alice")
    policy = scene.policy(ACCURATE, signers=["alice"])
    scene.write({f"{where}/assay.yaml".lstrip("/"): words.encode(), "own.yml": Path(policy).read_bytes()})
    monkeypatch.chdir(scene.model / where)
    with pytest.raises(UsageError, match="lies inside the target"):
        decide(str(scene.model), policy if named else None, Deciding(directory=scene.store), now=NOW)
    with pytest.raises(UsageError, match="lies inside the target"):
        decide(".", policy if named else None, Deciding(directory=scene.store), now=NOW, config=load(None))


def test_configuration_beside_a_single_file(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.write({"assay.yaml": b"policy: {use: own.yml}"})
    monkeypatch.chdir(scene.model)
    with pytest.raises(UsageError, match="lies inside the target"):
        decide("weights.bin", None, Deciding(directory=scene.store), now=NOW)


def test_configuration_that_the_caller_names_is_the_callers(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.attest("alice")
    policy = scene.policy(ACCURATE, signers=["alice"])
    scene.write({"assay.yaml": f"policy: {{use: {policy}}}\n".encode()})
    scene.attest("alice")
    monkeypatch.chdir(scene.model)
    how = Deciding(TrustIn(scene.public("alice")), directory=scene.store)
    assert decide(".", None, how, now=NOW, config_path="assay.yaml").accepted


def test_a_trust_root_found_in_the_target_vouches_for_nobody(
    scene: Scene, sigstore: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy names an identity; the target's configuration names who says which identity somebody has."""
    forger = Deployment(sigstore.issuer)
    policy = scene.root / "identity.yml"
    policy.write_text(
        "assay-policy: 1\nid: p\nsigners: {ci: {identities: [{identity: alice@example.com, issuer: "
        f"'{sigstore.issuer}'}}]}}}}\ncontrols:\n- id: c\n  rules:\n"
        "  - {id: r, require: {evidence: evaluation, signed-by: ci}}\n"
    )
    scene.write({"root.json": dump(forger.trusted_root()), "assay.yaml": b"trust: [{trust_root: root.json}]"})
    scene.now = datetime.now(UTC)
    scene.add(dump(forger.bundle(scene.statement())))
    monkeypatch.chdir(scene.model)
    with pytest.raises(UsageError, match="lies inside the target"):
        decide(".", str(policy), Deciding(directory=scene.store), now=scene.now)
    (scene.model / "assay.yaml").rename(scene.root / "ours.yaml")
    scene.add(dump(forger.bundle(scene.statement())))
    how = Deciding(TrustIn(trust_root=str(sigstore.trusted_root)), directory=scene.store)
    assert decide(".", str(policy), how, now=scene.now).verdict is Verdict.UNTRUSTED
    scene.add(dump(sigstore.deployment.bundle(scene.statement())))
    assert decide(".", str(policy), how, now=scene.now).accepted


@pytest.mark.parametrize("name", ["model.sig", "../model.sig"])
@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff" * 100, b"{}", b'{"payload":', b"[]", b"[" * 100_000, b"\n\n\n", b"null"]
)
def test_signature_files_that_are_none(scene: Scene, name: str, content: bytes) -> None:
    """Whatever lies where a signature is looked for: never an acceptance, never a traceback."""
    scene.attest("mallory")
    (scene.model / name).write_bytes(content)
    try:
        accepted = scene.decide(ACCURATE).accepted
    except AssayError as error:
        assert error.exit_code == 2 and "model.sig" in error.message
    else:
        assert not accepted


@pytest.mark.parametrize("name", ["model.sig", "../model.sig"])
def test_a_signature_file_of_the_targets_own(scene: Scene, name: str) -> None:
    """By a stranger it counts for nothing, by somebody expected as anywhere."""
    (scene.model / name).write_bytes(scene.document("mallory"))
    scene.attest("mallory")
    assert scene.verdict(ACCURATE) is Verdict.UNTRUSTED or name == "model.sig"
    assert not scene.decide(ACCURATE).accepted


def test_a_signature_file_inside_cannot_hide_that_files_were_added(scene: Scene) -> None:
    """The signed list leaves its own file out and nothing else."""
    import assay
    from assay.api.signers import SignWith

    assay.sign(
        str(scene.model),
        signature=str(scene.model / "model.sig"),
        signer_choice=SignWith(key=scene.private("alice")),
        now=NOW,
    )
    rule = "- {id: r, require: {evidence: model-signature}}"
    scene.attest("mallory")
    assert scene.decide(rule).accepted
    for name in ("model.sig.py", "code/model.sig", "model.sig2", "extra.bin"):
        scene.write({name: b"evil"})
        decision = scene.decide(rule)
        assert decision.verdict is Verdict.FAIL and name in decision.results[0].reason
        (scene.model / name).unlink()
    assert scene.decide(rule).accepted


def test_policies_and_keys_in_the_target_are_just_files(scene: Scene) -> None:
    scene.write({
        "policy.yml": b"assay-policy: 1", "bundle.yaml": b"assay-bundle: 1", "rules/a/b.yaml": b"assay-rule: 1",
        "alice.pub": b"-----BEGIN PUBLIC KEY-----", "evidence/index.sqlite": b"SQLite format 3\0",
    })  # fmt: skip
    scene.attest("mallory")
    assert scene.verdict(ACCURATE) is Verdict.UNTRUSTED
    scene.attest("alice")
    assert scene.verdict(ACCURATE) is Verdict.PASS


def test_any_change_of_the_target_leaves_its_evidence_behind(scene: Scene) -> None:
    scene.attest("alice")
    before = {path: path.read_bytes() for path in scene.model.rglob("*.*")}
    for path, data in before.items():
        for changed in (data[:-1] + bytes([data[-1] ^ 1]), data + b"\0", b""):
            path.write_bytes(changed)
            assert not scene.decide(ACCURATE).accepted
        path.unlink()
        assert not scene.decide(ACCURATE).accepted
        path.write_bytes(data)
    scene.write({"more": b""})
    assert not scene.decide(ACCURATE).accepted
    (scene.model / "more").unlink()
    assert scene.decide(ACCURATE).accepted
