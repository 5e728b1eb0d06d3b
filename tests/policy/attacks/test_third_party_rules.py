"""Rules and bundles by third parties: whom they name, what they read, what they answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.errors import AssayError, DocumentError, UndecidedError
from assay.policy.model import SignerGroup
from assay.policy.verdict import Verdict
from policy.attacks.scene import BILL, NOW, Scene, dump, reasons

ACCURATE = '- {id: r, require: {evidence: evaluation, where: ["accuracy >= 0.9"]}}'


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene.at(tmp_path)


# 4: rules by third parties


def bundle(scene: Scene, files: dict[str, str]) -> str:
    folder = scene.write({name: text.encode() for name, text in files.items()}, scene.root / "bundle")
    return f"dir:{folder}"


def test_people_named_in_one_line_of_two_files_stay_apart(scene: Scene) -> None:
    """A rule of somebody else names its author's key in the very line in which the policy names ours."""
    scene.public("alice", "mallory")
    for name in ("alice", "mallory"):
        (scene.root / f"{name}.pub").rename(scene.write({}, scene.root / "bundle") / f"{name}.pub")
    own = "require: {evidence: evaluation, signed-by: {keys: [alice.pub]}}"
    theirs = "require: {evidence: cyclonedx, signed-by: {keys: [mallory.pub]}}"
    policy = f"assay-policy: 1\nid: p\ncontrols: [{{id: c, rules: [{{id: own, {own}}}, {{uses: third/party@v1}}]}}]\n"
    rule = f"assay-rule: 1\nid: theirs\n{theirs}\n"
    where = bundle(scene, {"policy.yaml": policy, "rules/third/party.yaml": rule})
    scene.attest("mallory")
    scene.attest("mallory", kind=BILL, predicate={"bomFormat": "CycloneDX"})
    decision = scene.decide(where)
    assert {result.rule: result.verdict for result in decision.results} == {
        "own": Verdict.UNTRUSTED,
        "theirs": Verdict.PASS,
    }, reasons(decision)


def test_people_named_in_one_line_stay_apart(scene: Scene) -> None:
    """A policy written as one line of JSON."""
    scene.public("alice", "mallory")
    rules = [
        {"id": name, "require": {"evidence": "evaluation", "signed-by": {"keys": [f"{name}.pub"]}}}
        for name in ("alice", "mallory")
    ]
    path = scene.root / "flat.yml"
    path.write_bytes(dump({"assay-policy": 1, "id": "p", "controls": [{"id": "c", "rules": rules}]}))
    scene.attest("mallory")
    decision = scene.decide(str(path))
    assert [result.verdict for result in decision.results] == [Verdict.UNTRUSTED, Verdict.PASS], reasons(decision)


def test_a_declared_group_with_the_name_of_an_undeclared_one(scene: Scene) -> None:
    from assay.policy.reading.problems import Reading
    from assay.policy.reading.signers import Signers
    from assay.policy.sources import Packed
    from policy.attacks.scene import key

    files = {f"{name}.pub": key(name).public.pem for name in ("alice", "mallory")}
    signers, reading = Signers(Packed("file:x", files)), Reading("x", {(): 1}, [])
    signers.declare({"signer at line 1": {"keys": ["alice.pub"]}}, ("signers",), reading)
    made = signers.signed_by({"keys": ["mallory.pub"]}, None, ("here",), reading)
    assert not reading.problems and made.groups != ("signer at line 1",)
    declared: SignerGroup = signers.groups["signer at line 1"]
    assert declared.members[0].name == "alice.pub"  # type: ignore[union-attr]


def test_nobody_declares_whom_the_caller_trusts(scene: Scene) -> None:
    scene.public("mallory")
    path = scene.root / "p.yml"
    path.write_text(
        "assay-policy: 1\nid: p\nsigners: {trusted: {keys: [mallory.pub]}}\n"
        "controls: [{id: c, rules: [{id: r, require: {evidence: evaluation}}]}]\n"
    )
    with pytest.raises(DocumentError, match="cannot be declared"):
        scene.decide(str(path))


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/../../secret", "link", "..\\secret", "sub/link/secret", "secret\0"]
)
def test_rules_read_no_files_but_their_own(scene: Scene, name: str) -> None:
    secret = scene.root / "secret"
    secret.write_text("package verify\nimport rego.v1\nverify := {'allow': true}")
    folder = scene.write({}, scene.root / "bundle")
    (folder / "link").symlink_to(secret)
    (folder / "sub").mkdir()
    (folder / "sub" / "link").symlink_to(scene.root)
    rule = {"id": "r", "require": {"evidence": "evaluation"}, "rego": {"path": name}}
    text = json.dumps({"assay-policy": 1, "id": "p", "controls": [{"id": "c", "rules": [rule]}]})
    path = folder / "policy.yaml"
    path.write_text(text)
    scene.attest("alice")
    for policy in (f"dir:{folder}", str(path)):
        with pytest.raises(AssayError) as caught:
            scene.decide(policy)
        assert caught.value.exit_code == 2 and "package verify" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        "verify := true",
        'verify := {"allow": "true"}',
        'verify := {"allow": 1}',
        'verify := {"allow": [true]}',
        'verify := {"allow": true, "errors": ["x"]}',
        'verify := {"allow": true, "violation": "none"}',
        'verify := {"allow": true, "summary": [{"allow": false}]}',
        'verify := {"violation": {}}',
        "verify contains {} if false",
        'verify := {"allow": true} if input.nothing',
        'verify := {"allow": true} if http.send({"method": "GET", "url": "http://127.0.0.1:9/"}).status_code == 200',
        'verify := {"allow": true} if opa.runtime().env.HOME',
        'verify := {"allow": unknown_builtin(1)}',
        'verify := {"allow": true} if 1 / 0 == 0',
        'verify := {"allow": count([x | some i in numbers.range(1, 100000000); x := i]) > 0}',
        "verify := {",
    ],
)
def test_rules_that_give_no_clear_answer_allow_nothing(scene: Scene, body: str) -> None:
    scene.attest("alice")
    script = "".join(f"      {line}\n" for line in ("package verify", "import rego.v1", *body.splitlines()))
    try:
        decision = scene.decide(
            f"- id: r\n  require: {{evidence: evaluation}}\n  rego:\n    script: |\n{script}", engine="regorus"
        )
    except AssayError as error:
        assert error.exit_code == 2
    else:
        assert decision.verdict is Verdict.ERROR and decision.exit_code == 3, reasons(decision)


def test_a_bundle_signed_by_whom_the_caller_names_and_nobody_else(scene: Scene) -> None:
    """Keys on the command line are instead of those in the configuration, not beside them."""
    from assay.config import parse

    where = bundle(scene, {"policy.yaml": Path(scene.policy(ACCURATE)).read_text()})
    scene.public("mallory", "alice")
    import assay
    from assay.api.signers import SignWith

    assay.sign(where, signer_choice=SignWith(key=scene.private("mallory")), directory=scene.store, now=NOW)
    scene.attest("alice")
    config = parse(b"policy: {use: x, signed_by: {keys: [mallory.pub]}}", str(scene.root / "assay.yaml"))
    assert scene.decide(where, config=config).accepted
    with pytest.raises(UndecidedError):
        scene.decide(where, config=config, policy_keys=scene.public("alice"))
