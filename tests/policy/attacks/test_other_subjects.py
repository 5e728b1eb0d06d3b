"""Evidence about something else, about several things, about a part, and in other forms."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from assay.policy.verdict import Verdict
from policy.attacks.scene import (
    EVALUATION,
    GENERIC,
    MODEL_SIGNATURE,
    PROVENANCE,
    Scene,
    dump,
    evaluation,
    provenance,
    reasons,
    sha256,
    signed_by,
)

ACCURATE = '- {id: r, require: {evidence: evaluation, where: ["accuracy >= 0.9"]}}'


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene.at(tmp_path)


# 6: other targets' evidence, many subjects, weak digests


def test_evidence_about_another_target(scene: Scene) -> None:
    """Under the same name, with this target's digest written everywhere but where it counts."""
    lies = {"contents": scene.contents, "sha256": scene.contents, "gitCommit": scene.contents}
    scene.attest("alice", digest="a" * 64, said=lies, predicate=evaluation() | {"subject": scene.contents})
    assert scene.verdict(ACCURATE) is Verdict.MISSING


@pytest.mark.parametrize(
    "algorithm", ["md5", "sha1", "gitCommit", "dirHash", "SHA256", "sha-256", "sha256 ", "sha3_256"]
)
def test_digests_that_prove_nothing(scene: Scene, algorithm: str) -> None:
    """Weak ones, unknown ones, and a SHA3-256 that is as long as the SHA-256 that it is not."""
    scene.attest("alice", digest={algorithm: scene.contents})
    assert not scene.decide(ACCURATE).accepted


def test_a_second_digest_lends_nothing(scene: Scene) -> None:
    """About another model by its SHA-256; with this one's where nobody recomputes it."""
    scene.attest("alice", digest={"sha256": "a" * 64, "sha3_256": scene.contents, "sha1": scene.contents[:40]})
    assert scene.verdict(ACCURATE) is Verdict.MISSING


def test_upper_case_hex_is_no_digest(scene: Scene) -> None:
    path = scene.root / "upper.json"
    path.write_bytes(scene.document("alice", digest={"sha256": scene.contents.upper()}))
    decision = scene.decide(ACCURATE, signature=str(path))
    assert decision.verdict is Verdict.MISSING
    assert any("lower-case hex" in warning for warning in decision.warnings)


def test_what_is_said_of_one_subject_is_not_said_of_another(scene: Scene) -> None:
    """One statement about an approved model and about this one, which is not approved and was looked at long ago."""
    approved = {
        "name": "other",
        "digest": {"sha256": "a" * 64},
        "annotations": {
            "labels": {"approved": "yes"},
            "time": "2026-06-01T11:00:00Z",
            "context": {"git_branch": "main"},
        },
    }
    scene.attest("alice", before=[approved], said={"labels": {"approved": "no"}}, age=timedelta(days=400))
    for demand in ("labels: {approved: 'yes'}", "max-age: 7d", 'where: ["context.git_branch == main"]'):
        decision = scene.decide(f"- {{id: r, require: {{evidence: evaluation, {demand}}}}}")
        assert not decision.accepted, (demand, reasons(decision))
    assert scene.decide("- {id: r, require: {evidence: evaluation}}").accepted


FILE_STATEMENTS = {
    "all": "config.json weights.bin code/modeling.py",
    "below a folder": "out/config.json=config.json out/weights.bin=weights.bin out/code/modeling.py=code/modeling.py",
    "one was left out": "config.json weights.bin code/modeling.py guard.py",
    "swapped": "weights.bin=config.json config.json=weights.bin code/modeling.py",
    "renamed": "config.json weights.bin samples/malware.txt=code/modeling.py",
    "one was added": "config.json weights.bin",
    "twice": "config.json weights.bin code/modeling.py=other code/modeling.py",
    "two folders": "a/config.json=config.json b/weights.bin=weights.bin a/code/modeling.py=code/modeling.py",
    "part of a name": "xconfig.json=config.json xweights.bin=weights.bin xcode/modeling.py=code/modeling.py",
}
"""Names of subjects, and the file of the target whose contents each has where that is another one."""


@pytest.mark.parametrize("case", FILE_STATEMENTS)
def test_a_statement_about_single_files(scene: Scene, case: str) -> None:
    """By digest alone a listed sample of malware would become code, and a guard could be left out."""
    digests = {path.relative_to(scene.model).as_posix(): sha256(path.read_bytes()) for path in scene.model.rglob("*.*")}
    pairs = [(word.partition("=")[0], word.rpartition("=")[2]) for word in FILE_STATEMENTS[case].split()]
    listed = [(name, digests.get(content, "0" * 64)) for name, content in pairs]
    subjects = [{"name": name, "digest": {"sha256": digest}} for name, digest in listed]
    path = scene.root / "files.json"
    payload = json.loads(scene.statement(kind=PROVENANCE, predicate=provenance("b"))) | {"subject": subjects}
    path.write_bytes(dump(signed_by("alice", payload=dump(payload))))
    decision = scene.decide("- {id: r, require: {evidence: slsaprovenance}}", signature=str(path))
    assert decision.accepted == (case in ("all", "below a folder")), reasons(decision)
    if not decision.accepted:
        assert decision.verdict is Verdict.FAIL and "describes other contents" in decision.results[0].reason


def test_a_changed_output_of_a_run_with_several_is_named(scene: Scene) -> None:
    """A run lists its output folders and what lies in them. The answer names the changed file and nothing else; files
    that were listed below a folder are never the folder itself, or guards could be left out of the list.
    """
    digests = {path.relative_to(scene.model).as_posix(): sha256(path.read_bytes()) for path in scene.model.rglob("*.*")}
    whole = [("metrics", "1" * 64), ("metrics/report.json", "2" * 64), ("made", "3" * 64)]
    for changed, said in (("weights.bin", "modified: 'weights.bin'"), (None, "about other contents")):
        listed = [(f"made/{name}", "4" * 64 if name == changed else digest) for name, digest in digests.items()]
        subjects = [{"name": name, "digest": {"sha256": digest}} for name, digest in whole + listed]
        path = scene.root / "run.json"
        payload = json.loads(scene.statement(kind=PROVENANCE, predicate=provenance("b"))) | {"subject": subjects}
        path.write_bytes(dump(signed_by("alice", payload=dump(payload))))
        decision = scene.decide("- {id: r, require: {evidence: slsaprovenance}}", signature=str(path))
        reason = decision.results[0].reason
        assert not decision.accepted and reason.endswith(said), reason


def test_a_stranger_is_called_a_stranger(scene: Scene) -> None:
    """A list of files that nobody expected signed is not compared: nobody knows which files it is about."""
    import assay
    from assay.api.signers import SignWith

    made = scene.root / "stranger.sig"
    assay.sign(str(scene.model), signature=str(made), signer_choice=SignWith(key=scene.private("mallory")))
    decision = scene.decide("- {id: r, require: {evidence: model-signature}}", signature=str(made))
    assert decision.verdict is Verdict.MISSING
    assert "nobody who is expected" in decision.results[0].reason and "other contents" not in str(reasons(decision))


@pytest.mark.parametrize("kind", ["link", "slsaprovenance", "runtime-trace"])
def test_nobody_is_told_to_write_the_record_of_a_run_by_hand(scene: Scene, kind: str) -> None:
    """A record that somebody typed proves nothing of what ran."""
    scene.attest("alice")
    (result,) = scene.decide(f"- {{id: r, require: {{evidence: {kind}}}}}").results
    assert [need.command for need in result.needs] == ["assay run --outputs DIR -- COMMAND"]


@pytest.mark.parametrize("command", ["bom", "sign"])
def test_what_was_signed_of_a_part_is_not_signed_of_the_whole(scene: Scene, command: str) -> None:
    """Somebody signed the configuration alone. The weights are anybody's."""
    import assay
    from assay.api.signers import SignWith
    from assay.targets.interface import Options

    choice = SignWith(key=scene.private("alice"))
    part = Options(paths=("config.json",))
    if command == "bom":
        assay.bom(
            str(scene.model), format="attest", signer_choice=choice, directory=scene.store, options=part, now=scene.now
        )
    else:
        assay.sign(str(scene.model), signer_choice=choice, directory=scene.store, options=part, now=scene.now)
    (scene.model / "weights.bin").write_bytes(b"evil")
    kind = "cyclonedx" if command == "bom" else "model-signature"
    decision = scene.decide(f"- {{id: r, require: {{evidence: {kind}}}}}")
    assert not decision.accepted, reasons(decision)


def test_names_that_the_signer_left_out_are_told(scene: Scene) -> None:
    """The signature holds by its own rules; nobody shall think that it covers everything."""
    from assay.evidence.oms import payload
    from helpers import manifest_of

    made = payload("model", manifest_of(scene.model), ignored=("extra",), followed_links=False, annotations={})
    scene.add(dump(signed_by("alice", payload=made)))
    scene.write({"extra/evil.py": b"import os"})
    decision = scene.decide("- {id: r, require: {evidence: model-signature}}")
    assert any("extra/evil.py" in warning for warning in decision.warnings), decision.warnings


def test_names_that_are_ignored_by_default_are_told(scene: Scene) -> None:
    scene.attest("alice")
    scene.write({"code/__pycache__/modeling.cpython-311.pyc": b"evil"})
    decision = scene.decide(ACCURATE)
    assert any("__pycache__" in warning for warning in decision.warnings), decision.warnings


# forms of the same statement


def test_an_old_statement_type_is_read_and_trusted_no_more(scene: Scene) -> None:
    scene.attest("mallory", _type="https://in-toto.io/Statement/v0.1")
    assert scene.verdict(ACCURATE) is Verdict.UNTRUSTED
    scene.attest("alice", _type="https://in-toto.io/Statement/v0.1")
    assert scene.verdict(ACCURATE) is Verdict.PASS


def test_only_the_outer_signature_of_a_double_envelope_counts(scene: Scene) -> None:
    inner = signed_by("alice", payload=scene.statement())
    scene.add(dump(signed_by("mallory", payload=dump(inner))))
    assert scene.verdict(ACCURATE) is Verdict.UNTRUSTED
    outer = signed_by("alice", payload=dump(signed_by("mallory", payload=scene.statement())))
    scene.add(dump(outer))
    assert scene.verdict(ACCURATE) is Verdict.PASS


def test_three_envelopes_are_none(scene: Scene) -> None:
    payload = scene.statement()
    for _ in range(3):
        payload = dump(signed_by("alice", payload=payload))
    path = scene.root / "deep.json"
    path.write_bytes(payload)
    assert scene.verdict(ACCURATE, signature=str(path)) is Verdict.MISSING


@pytest.mark.parametrize("field", ["subject", "predicateType", "predicate"])
def test_a_key_that_stands_twice(scene: Scene, field: str) -> None:
    """Two parsers read two documents; neither is believed."""
    good, bad = json.loads(scene.statement()), json.loads(scene.statement(digest="a" * 64, predicate=evaluation(0.1)))
    text = json.dumps(bad)[:-1] + f', "{field}": {json.dumps(good[field])}}}'
    path = scene.root / "twice.json"
    path.write_bytes(dump(signed_by("alice", payload=text.encode())))
    decision = scene.decide(ACCURATE, signature=str(path))
    assert decision.verdict is Verdict.MISSING and any("twice" in warning for warning in decision.warnings)


def test_the_kind_in_the_payload_decides(scene: Scene) -> None:
    """A generic report whose content is an evaluation is no evaluation."""
    content = {"report": {"digest": {"sha256": "0" * 64}}, "content": evaluation(), **evaluation()}
    scene.attest("alice", kind=GENERIC, predicate=content)
    scene.attest("alice", kind=EVALUATION + "/v2")
    scene.attest("alice", kind=MODEL_SIGNATURE, predicate=evaluation())
    assert scene.verdict(ACCURATE) is Verdict.MISSING
