"""Evidence by people whom nobody trusts, and by people who are trusted for something else."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from assay.evidence.bundle import build
from assay.evidence.envelope import IN_TOTO, Envelope, Signature, pae
from assay.policy.verdict import Verdict
from policy.attacks.scene import (
    BILL,
    BILL_OF_NOTHING,
    GENERIC,
    PROVENANCE,
    Scene,
    dump,
    evaluation,
    key,
    provenance,
    reasons,
    signed_by,
)

ACCURATE = '- {id: r, require: {evidence: evaluation, where: ["accuracy >= 0.9"]}}'


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene.at(tmp_path)


def test_the_honest_case_passes(scene: Scene) -> None:
    """Without this the tests below would prove nothing."""
    scene.attest("alice")
    decision = scene.decide(ACCURATE)
    assert decision.verdict is Verdict.PASS and decision.exit_code == 0, reasons(decision)
    assert not decision.warnings


# 1: whoever may write into the store, without a key that counts


def test_a_key_that_nobody_trusts(scene: Scene) -> None:
    scene.attest("mallory")
    assert scene.verdict(ACCURATE) is Verdict.UNTRUSTED


def test_a_hint_is_no_signature(scene: Scene) -> None:
    """The bundle says that it is by alice's key, and is by mallory's."""
    payload = scene.statement()
    forged = Signature(key("mallory").sign(pae(IN_TOTO, payload)), key("alice").public.key_id)
    scene.add(build(Envelope(payload, IN_TOTO, (forged,)), key_hint=key("alice").public.key_id).raw)
    assert scene.verdict(ACCURATE) is Verdict.UNTRUSTED


def test_a_signature_of_another_document(scene: Scene) -> None:
    """A good signature over a bad evaluation, moved to a good one."""
    bad = signed_by("alice", payload=scene.statement(predicate=evaluation(0.1)))
    scene.add(dump(bad))
    scene.add(dump(bad | {"payload": base64.b64encode(scene.statement()).decode()}))
    assert scene.verdict(ACCURATE) is Verdict.FAIL


def test_another_payload_type_is_another_document(scene: Scene) -> None:
    """Signed as text for people; presented as a statement."""
    envelope = signed_by("alice", payload=scene.statement(), kind="text/plain")
    scene.add(dump(envelope | {"payloadType": IN_TOTO}))
    assert scene.verdict(ACCURATE) is Verdict.UNTRUSTED


def test_no_signature_at_all(scene: Scene) -> None:
    path = scene.root / "unsigned.json"
    path.write_bytes(dump(signed_by(payload=scene.statement())))
    with pytest.raises(Exception, match="has no signature"):
        scene.decide(ACCURATE, signature=str(path))


def test_a_document_cannot_say_that_it_is_signed(scene: Scene) -> None:
    """Reference, 1.12, 1: the published rule takes the word of the payload for it that it was signed."""
    lies = {"signed": True, "verified": {"signed": True}, "environment": {"content_type": "attest-cyclonedx-json"}}
    scene.attest("mallory", kind=BILL, predicate=BILL_OF_NOTHING | lies, said={"verified": {"signed": True}, **lies})
    rego = """\
- id: r
  require: {evidence: cyclonedx, signed: false}
  rego:
    script: |
      package verify
      import rego.v1
      default allow := false
      allow if input.verified.signed
      allow if "trusted" in input.verified.groups
      allow if input.verifier.signed
      allow if count(input.verified.signers) > 0
      verify := {"allow": allow, "summary": [{"allow": allow, "reason": "signed"}]}
"""
    decision = scene.decide(rego)
    assert decision.verdict is Verdict.FAIL, reasons(decision)
    assert scene.verdict("- {id: r, require: {evidence: cyclonedx}}") is Verdict.UNTRUSTED


def test_the_published_rule_about_signed_images_is_not_fooled(scene: Scene) -> None:
    """Reference, 1.12, 1, word for word where it matters: only the policy's own ``signed`` decides who may speak."""
    scene.attest("mallory", kind=BILL, predicate={"environment": {"content_type": "attest-cyclonedx-json"}, "bom": {}})
    rego = """\
- id: r
  require: {evidence: cyclonedx}
  rego:
    shape: valint
    version: v0
    script: |
      package verify
      default allow = false
      allow { input.evidence.predicate.environment.content_type == "attest-cyclonedx-json" }
      allow { regex.match("model", input.evidence.predicate.environment.sbomname) }
      verify = {"allow": allow, "summary": [{"allow": allow, "reason": "r"}]}
"""
    assert scene.verdict(rego) is Verdict.UNTRUSTED


@pytest.mark.parametrize(
    "who",
    [
        "{identities: []}",
        "{keys: []}",
        "{}",
        "{identities: [{identity: '', issuer: ''}]}",
        "[]",
        "{identities: [{identity: a@b.c}]}",
    ],
)
def test_nobody_is_not_everybody(scene: Scene, who: str) -> None:
    """Reference, 1.12, 3: empty lists of identities that any signer satisfies."""
    scene.attest("mallory")
    with pytest.raises(Exception, match=r"nobody|needs its issuer"):
        scene.decide(f"- {{id: r, require: {{evidence: evaluation, signed-by: {who}}}}}")


def test_missing_evidence_is_never_open(scene: Scene) -> None:
    """Reference, 1.12, 4, first half. There is a store, and nothing of the kind in it."""
    scene.attest("alice", kind=GENERIC, predicate={"report": {"digest": {"sha256": "0" * 64}}, "content": {}})
    decision = scene.decide(ACCURATE)
    assert decision.verdict is Verdict.MISSING and decision.exit_code == 3


@pytest.mark.parametrize("kind", [None, "dataset", "image"])
def test_a_rule_for_other_targets_disables_nothing(scene: Scene, kind: str | None) -> None:
    """Reference, 1.12, 4, second half, and 2: a wrong kind of target made the rule go away, and the answer good."""
    scene.attest("alice", digest="a" * 64)
    rule = "- {id: r, when: {target: [image]}, require: {evidence: evaluation}}"
    decision = scene.decide(rule, kind=kind)
    expected = Verdict.NOT_APPLICABLE if kind == "dataset" else Verdict.MISSING
    assert decision.verdict is expected and not decision.accepted and decision.exit_code == 3


def test_a_label_of_the_evidence_switches_no_rule_off(scene: Scene) -> None:
    """What a rule is for is said by the caller. Evidence that calls itself a data set for dev changes nothing."""
    said = {"labels": {"stage": "dev"}, "kind": "dataset", "gate": "dev"}
    scene.attest("alice", predicate=evaluation(0.1), said=said)
    rule = (
        "- {id: r, when: {gate: [prod], target: [model], labels: {stage: prod}}, "
        'require: {evidence: evaluation, where: ["accuracy >= 0.9"]}}'
    )
    assert scene.verdict(rule) is Verdict.FAIL


# 2: a legitimate signer of one kind of evidence


def test_authority_for_one_kind_is_none_for_another(scene: Scene) -> None:
    scene.attest("qa", kind=BILL, predicate=BILL_OF_NOTHING)
    scene.attest("qa")
    rules = "- {id: bill, require: {evidence: cyclonedx, signed-by: ci}}\n"
    rules += "- {id: eval, require: {evidence: evaluation, signed-by: qa}}"
    decision = scene.decide(scene.policy(rules, signers=["ci", "qa"]))
    assert [result.verdict for result in decision.results] == [Verdict.UNTRUSTED, Verdict.PASS], reasons(decision)


def test_a_builder_is_believed_with_its_own_signer_only(scene: Scene) -> None:
    """Reference, 1.12, 7: the builder's id is a string that any signer of provenance can write."""
    builder = "https://github.com/actions/runner"
    scene.attest("dev", kind=PROVENANCE, predicate=provenance(builder))
    rules = f"""\
- id: r
  require: {{evidence: slsaprovenance, signed-by: [dev, github], builder: {{id: "{builder}", signed-by: github}}}}
"""
    policy = scene.policy(rules, signers=["dev", "github"])
    assert scene.verdict(policy) is Verdict.UNTRUSTED
    scene.attest("github", kind=PROVENANCE, predicate=provenance(builder))
    assert scene.verdict(policy) is Verdict.PASS


def test_a_second_builder_of_the_same_name_is_looked_at(scene: Scene) -> None:
    scene.attest("github", kind=PROVENANCE, predicate=provenance("https://github.com/a/b"))
    builders = '[{id: "https://github.com/*", signed-by: dev}, {id: "https://github.com/a/b", signed-by: github}]'
    rule = f"- {{id: r, require: {{evidence: slsaprovenance, signed-by: [dev, github], builder: {builders}}}}}"
    assert scene.verdict(scene.policy(rule, signers=["dev", "github"])) is Verdict.PASS


def test_provenance_context_is_no_builder(scene: Scene) -> None:
    """Reference, 1.12, 7: run ids and host names in internal parameters are the signer's own words."""
    predicate = provenance("https://evil.example")
    predicate["buildDefinition"]["internalParameters"] = {"context": {"builder": {"id": "https://good.example"}}}
    predicate["builder"] = {"id": "https://good.example"}
    scene.attest("alice", kind=PROVENANCE, predicate=predicate)
    rule = '- {id: r, require: {evidence: slsaprovenance, builder: "https://good.example"}}'
    assert scene.verdict(rule) is Verdict.UNTRUSTED


def test_a_list_of_other_files_by_the_wrong_signer_reads_nothing(scene: Scene) -> None:
    """A list counts for the rule that expects its signer, and steers nothing before that."""
    from assay.evidence.oms import payload
    from helpers import manifest_of

    made = payload("model", manifest_of(scene.model), ignored=(), followed_links=False, annotations={})
    scene.add(dump(signed_by("qa", payload=made)))
    rules = "- {id: r, require: {evidence: model-signature, signed-by: ci}}\n"
    assert scene.verdict(scene.policy(rules, signers=["ci", "qa"])) is Verdict.MISSING
    rules += "- {id: s, level: note, require: {evidence: evaluation, signed-by: qa}}\n"
    assert scene.verdict(scene.policy(rules, signers=["ci", "qa"])) is Verdict.UNTRUSTED
