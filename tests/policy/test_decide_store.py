"""Decisions over a real store: every verdict, every kind of signer and target, and what taking evidence away does."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import assay
from assay.api.anchors import TrustIn
from assay.api.deciding import Deciding, decide
from assay.api.signers import SignWith
from assay.errors import AssayError, UndecidedError, UsageError
from assay.evidence.keys import load_private
from assay.evidence.signers.key import with_certificates
from assay.evidence.stores import open_directory
from assay.evidence.stores.log import blob_path, entry_path
from assay.policy.verdict import Decision, Verdict
from assay.targets.interface import Options
from policy.attacks.scene import BILL, BILL_OF_NOTHING, NOW, PROVENANCE, Scene, dump, evaluation, provenance, reasons
from sigstore_double import Server
from small_ca import root as authority

pytest_plugins = ["sigstore_double.fixture"]

ACCURATE = '- {id: r, require: {evidence: evaluation, where: ["accuracy >= 0.9"]}}'
DAY = timedelta(days=1)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene.at(tmp_path)


# the lattice


def test_every_verdict(scene: Scene) -> None:
    """One policy, eight rules, eight verdicts; and the policy's is the worst of them."""
    scene.attest("alice", predicate=evaluation(0.95))
    scene.attest("alice", kind=BILL, predicate=BILL_OF_NOTHING, age=30 * DAY)
    scene.attest("mallory", kind=PROVENANCE, predicate=provenance("b"))
    rules = """\
- {id: pass, require: {evidence: evaluation, where: ["accuracy >= 0.9"]}}
- {id: warn, level: warning, require: {evidence: vsa}}
- {id: fail, require: {evidence: evaluation, where: ["accuracy >= 0.99"]}}
- {id: stale, require: {evidence: cyclonedx, max-age: 7d}}
- {id: untrusted, require: {evidence: slsaprovenance}}
- {id: missing, require: {evidence: sarif}}
- {id: error, require: {evidence: evaluation}, rego: {script: "package verify"}}
- {id: not-applicable, when: {gate: prod}, require: {evidence: sarif}}
- {id: note, level: note, require: {evidence: sarif}}
"""
    decision = scene.decide(rules, gate="dev")
    found = {result.rule: result.effective.value for result in decision.results}
    assert found == {name: name for name in found if name != "note"} | {"note": "not-applicable"}, reasons(decision)
    assert len(found) == 9 and decision.verdict is Verdict.ERROR and decision.exit_code == 1
    for result in decision.results:
        assert result.reason and bool(result.needs) == (result.verdict not in (Verdict.PASS, Verdict.NOT_APPLICABLE))


@pytest.mark.parametrize(
    ("rules", "verdict", "code"),
    [
        (["pass"], Verdict.PASS, 0),
        (["pass", "warn"], Verdict.WARN, 0),
        (["warn"], Verdict.WARN, 0),
        (["pass", "other"], Verdict.PASS, 0),
        (["other"], Verdict.NOT_APPLICABLE, 3),
        (["note"], Verdict.NOT_APPLICABLE, 3),
        (["pass", "fail"], Verdict.FAIL, 1),
        (["fail", "missing"], Verdict.MISSING, 1),
        (["pass", "missing"], Verdict.MISSING, 3),
        (["warn", "missing"], Verdict.MISSING, 3),
    ],
)
def test_rules_together(scene: Scene, rules: list[str], verdict: Verdict, code: int) -> None:
    scene.attest("alice")
    kinds = {
        "pass": "- {id: pass, require: {evidence: evaluation}}",
        "warn": "- {id: warn, level: warning, require: {evidence: sarif}}",
        "fail": '- {id: fail, require: {evidence: evaluation, where: ["accuracy < 0.5"]}}',
        "missing": "- {id: missing, require: {evidence: vsa}}",
        "other": "- {id: other, when: {target: dataset}, require: {evidence: vsa}}",
        "note": "- {id: note, level: note, require: {evidence: evaluation}}",
    }
    decision = scene.decide("\n".join(kinds[name] for name in rules), kind="model")
    assert (decision.verdict, decision.exit_code) == (verdict, code), reasons(decision)


def test_the_decision_names_what_it_rests_on(scene: Scene) -> None:
    entry = scene.attest("alice")
    decision = scene.decide(ACCURATE, gate="prod", labels={"team": "nlp"}, kind="model")
    (used,) = decision.results[0].used
    assert used.digest == entry.blob and used.subject_sha256 == scene.contents == decision.sha256
    assert (decision.gate, decision.kind, dict(decision.labels)) == ("prod", "model", {"team": "nlp"})
    assert decision.time == NOW and decision.policy.uri == "file:policy.yml" and len(decision.policy.sha256) == 64
    assert str(scene.root) not in decision.policy.uri


def test_the_same_case_gives_the_same_decision(scene: Scene) -> None:
    scene.attest("alice")
    scene.attest("mallory", kind=BILL, predicate=BILL_OF_NOTHING)
    rules = ACCURATE + "\n- {id: b, require: {evidence: cyclonedx}}"
    assert scene.decide(rules) == scene.decide(rules)


def test_no_store_is_undecided_and_never_accepted(scene: Scene) -> None:
    with pytest.raises(UndecidedError, match="no evidence directory"):
        scene.decide(ACCURATE)


def test_nobody_to_trust_is_undecided(scene: Scene) -> None:
    scene.attest("alice")
    with pytest.raises(UndecidedError, match="nobody is named"):
        scene.decide(ACCURATE, trust=TrustIn())


def test_a_part_cannot_be_decided_about(scene: Scene) -> None:
    with pytest.raises(UsageError, match="whole target"):
        scene.decide(ACCURATE, options=Options(paths=("config.json",)))


# taking evidence away

RULES = """\
- {id: good, require: {evidence: evaluation, signed-by: alice, where: ["accuracy >= 0.9"]}}
- {id: two, require: {evidence: evaluation, signed-by: [alice, bob], threshold: 2}}
- {id: fresh, level: warning, require: {evidence: evaluation, signed-by: [alice, bob], max-age: 7d}}
- {id: newest, require: {evidence: evaluation, signed-by: bob, newest: true, where: ["accuracy >= 0.9"]}}
- {id: lineage, require: {evidence: {training: slsaprovenance, data: {type: evaluation, linked: true, newest: true}},
   signed-by: [alice, bob], edges: [data -> training]}}
"""
DATA = "d" * 64
document = st.fixed_dictionaries({
    "by": st.sampled_from([("alice",), ("bob",), ("alice", "bob"), ("mallory",), ("bob", "mallory")]),
    "accuracy": st.sampled_from([0.1, 0.95]),
    "days": st.integers(0, 10),
    "about": st.sampled_from(["model", "model", "model", "data", "training"]),
    "discarded": st.sampled_from([False, False, False, True]),
})  # fmt: skip


def fill(scene: Scene, documents: list[dict[str, object]], *, without: tuple[int, int] | None = None) -> list[str]:
    """A store with these documents; ``without`` one signature. The digests of the bundles, in order."""
    made = []
    for i, item in enumerate(documents):
        by = [name for k, name in enumerate(item["by"]) if (i, k) != without]  # type: ignore[arg-type, var-annotated]
        about = {"digest": DATA} if item["about"] == "data" else {}
        if item["about"] == "training":
            about |= {"kind": PROVENANCE, "predicate": provenance("b", DATA)}  # type: ignore[dict-item]
        else:
            about |= {"predicate": evaluation(item["accuracy"])}  # type: ignore[dict-item]
        entry = scene.attest(*by, age=item["days"] * DAY, **about)  # type: ignore[arg-type, operator]
        made.append(entry.blob)
        if item["discarded"] and not entry.discarded:
            scene.discard(entry)
    return made


def ranks(scene: Scene, policy: str) -> tuple[dict[str, int], int]:
    decision = scene.decide(policy)
    return {result.rule: result.verdict.rank for result in decision.results}, decision.verdict.rank


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents=st.lists(document, min_size=1, max_size=5, unique_by=repr), data=st.data())
def test_taking_evidence_away_improves_nothing(documents: list[dict[str, object]], data: st.DataObject) -> None:
    """A document, an entry, a signature, or by taking it back; in place, under the eyes of a user who saw it before."""
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene.at(Path(folder))
        policy = scene.policy(RULES, signers=["alice", "bob"])
        blobs = fill(scene, documents)
        rules, whole = ranks(scene, policy)
        with open_directory(scene.store, create=False) as store:
            entries = list(store.find(discarded=True))
            log = range(1, store.head().seq + 1)
        how = data.draw(st.sampled_from(["bundle", "entry", "entry and index", "signature", "discard", "rebuilt"]))
        root = Path(scene.store)
        if how == "bundle":
            root.joinpath(*blob_path(data.draw(st.sampled_from(blobs)))).unlink()
        elif how.startswith("entry"):
            root.joinpath(*entry_path(data.draw(st.sampled_from(log)))).unlink()
            if "index" in how:
                (root / "index.sqlite").unlink()
        elif how == "discard":
            alive = [entry for entry in entries if not entry.discarded]
            if not alive:
                return
            scene.discard(data.draw(st.sampled_from(alive)))
        else:
            several = [i for i, item in enumerate(documents) if len(item["by"]) > 1]  # type: ignore[arg-type]
            if not several:
                return
            i = data.draw(st.sampled_from(several))
            if how == "signature":
                path = root.joinpath(*blob_path(blobs[i]))
                envelope = json.loads(path.read_bytes())
                envelope["signatures"].pop(data.draw(st.sampled_from([0, 1])))
                path.chmod(0o600)
                path.write_bytes(dump(envelope))
            else:
                shutil.rmtree(root)
                state = os.environ["XDG_STATE_HOME"]
                os.environ["XDG_STATE_HOME"] = folder  # somebody else does it
                fill(scene, documents, without=(i, data.draw(st.sampled_from([0, 1]))))
                os.environ["XDG_STATE_HOME"] = state
        after, together = ranks(scene, policy)
        worse = {rule: (rules[rule], after[rule]) for rule in rules if after[rule] > rules[rule]}
        # Taking back what was taken back, by cutting the log, is told and not decided: only `newest` needs a whole log.
        undone = how.startswith("entry") and any(item["discarded"] for item in documents)
        assert undone or (not worse and together <= whole), (how, worse)
        assert after["newest"] <= rules["newest"] and after["lineage"] <= rules["lineage"]


# growth


class Opened:
    """Names of bundles that were opened in the store, by Python's own audit events."""

    def __init__(self) -> None:
        self.names: list[str] | None = None
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and self.names is not None:
            name = os.path.basename(os.fsdecode(arguments[0])) if isinstance(arguments[0], str | bytes) else ""
            if re.fullmatch(r"[0-9a-f]{64}\.json", name):
                self.names.append(name)

    @contextmanager
    def counting(self) -> Iterator[list[str]]:
        names = self.names = []
        try:
            yield names
        finally:
            self.names = None


OPENED = Opened()


@pytest.mark.parametrize("others", [0, 150])
def test_only_evidence_about_the_target_is_read(scene: Scene, others: int) -> None:
    """Other models' evidence, of the same kinds and by the same people, costs no more than its place in an index."""
    blobs = set()
    with open_directory(scene.store, create=True) as store:
        for i in range(others):
            subject = json.loads(scene.statement(digest=f"{i:064x}", said={"contents": f"{i:064x}"}))
            subject["subject"][0]["name"] = f"other-{i}"
            from policy.attacks.scene import signed_by

            store.add(dump(signed_by("alice", payload=dump(subject))), now=NOW)
        for i in range(5):
            blobs.add(store.add(scene.document("alice", predicate=evaluation(0.95), said={"i": i}), now=NOW).blob)
    rules = "\n".join(
        f'- {{id: r{i}, require: {{evidence: evaluation, where: ["accuracy >= 0.{i}"]}}}}' for i in range(9)
    )
    with OPENED.counting() as names:
        assert scene.decide(rules).accepted
    assert set(names) == {f"{blob}.json" for blob in blobs}
    assert len(names) == len(blobs), "a document was read more than once"


def test_evidence_of_kinds_that_no_rule_asks_for_is_not_read(scene: Scene) -> None:
    scene.attest("alice")
    for i in range(20):
        scene.attest("alice", kind=PROVENANCE, predicate=provenance(str(i)), said={"name": i})
    with OPENED.counting() as names:
        assert scene.decide("- {id: r, require: {evidence: evaluation}}").accepted
    # Documents under the target's name may list its files without naming its digest: of those, a bounded number.
    assert len(set(names)) <= 1 + 50 and len(names) == len(set(names))


# kinds of targets


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_repository_at_a_commit(scene: Scene) -> None:
    git(scene.model, "init", "-q", "-b", "main")
    git(scene.model, "add", ".")
    git(scene.model, "commit", "-q", "-m", "one")
    first = git(scene.model, "rev-parse", "HEAD")
    (scene.model / "weights.bin").write_bytes(b"poisoned")
    git(scene.model, "commit", "-q", "-a", "-m", "two")
    choice = SignWith(key=scene.private("alice"))
    assay.bom(f"git:{scene.model}@{first}", format="attest", signer_choice=choice, directory=scene.store, now=NOW)
    rule = f"- {{id: r, require: {{evidence: cyclonedx, where: [\"revision == '{first}'\"]}}}}"
    decision = scene.decide(rule, target=f"git:{scene.model}@{first}")
    assert decision.accepted and decision.target.endswith(first), reasons(decision)
    for other in (f"git:{scene.model}@main", f"git:{scene.model}", str(scene.model)):
        assert not scene.decide(rule, target=other).accepted
    # The same files in a plain folder are the same contents, and say nothing of a revision of their own.
    git(scene.model, "checkout", "-q", first)
    assert scene.decide(rule).sha256 == decision.sha256


def test_a_single_file(scene: Scene) -> None:
    file = str(scene.model / "weights.bin")
    choice = SignWith(key=scene.private("alice"))
    assay.sign(file, signer_choice=choice, directory=scene.store, now=NOW)
    rule = "- {id: r, require: {evidence: model-signature}}"
    assert scene.decide(rule, target=file).accepted
    renamed = scene.model / "renamed.bin"
    shutil.copy(file, renamed)
    assert scene.decide(rule, target=str(renamed)).accepted, "one file is known by its bytes"
    renamed.write_bytes(b"other")
    assert not scene.decide(rule, target=str(renamed)).accepted
    assert not scene.decide(rule).accepted, "a signature on one file says nothing about the folder that it lies in"


@pytest.mark.parametrize("lines", [1, 3])
def test_evidence_in_a_file(scene: Scene, lines: int) -> None:
    """A bundle, or several as JSON Lines; the store is not asked then."""
    documents = [scene.document("alice", predicate=evaluation(accuracy)) for accuracy in (0.7, 0.8, 0.95)[:lines]]
    path = scene.root / "evidence.intoto.jsonl"
    path.write_bytes(b"\n".join(documents) + b"\n")
    decision = scene.decide(ACCURATE, signature=str(path))
    assert decision.accepted == (lines == 3), reasons(decision)
    assert str(path) in decision.evidence
    scene.attest("alice")
    assert scene.decide(ACCURATE, signature=str(path)).accepted == (lines == 3)
    assert not scene.decide(ACCURATE.replace("evaluation,", "evaluation, newest: true,"), signature=str(path)).accepted


@pytest.mark.parametrize(
    "content", [None, b"", b"nonsense", b"{}", b'{"payloadType": "x", "payload": "", "signatures": []}']
)
def test_a_file_of_evidence_that_is_none(scene: Scene, content: bytes | None) -> None:
    path = scene.root / "evidence.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((AssayError, OSError)) as caught:
        scene.decide(ACCURATE, signature=str(path))
    assert getattr(caught.value, "exit_code", 2) == 2


# kinds of signers


def identity_policy(
    scene: Scene, signers: str, rule: str = "{id: r, require: {evidence: evaluation, signed-by: ci}}"
) -> str:
    path = scene.root / "identity.yml"
    path.write_text(f"assay-policy: 1\nid: p\nsigners:\n  ci: {signers}\ncontrols:\n- id: c\n  rules:\n  - {rule}\n")
    return str(path)


def by_identity(scene: Scene, sigstore: Server, policy: str) -> Decision:
    how = Deciding(TrustIn(trust_root=str(sigstore.trusted_root)), directory=scene.store)
    return decide(str(scene.model), policy, how, now=scene.now)


def test_sigstore_identities(scene: Scene, sigstore: Server) -> None:
    scene.now = datetime.now(UTC)
    scene.add(dump(sigstore.deployment.bundle(scene.statement(), identity="alice@example.com")))
    scene.now += timedelta(hours=2)

    def verdict(identity: str, issuer: str, more: str = "") -> Verdict:
        rule = f"{{id: r, require: {{evidence: evaluation, signed-by: ci{more}}}}}"
        policy = identity_policy(scene, f"{{identities: [{{identity: {identity}, issuer: '{issuer}'}}]}}", rule)
        return by_identity(scene, sigstore, policy).verdict

    assert verdict("alice@example.com", sigstore.issuer) is Verdict.PASS
    assert verdict("alice@example.com", sigstore.issuer, ", max-age: 1h, proved-time: true") is Verdict.STALE
    assert verdict("alice@example.com", sigstore.issuer, ", max-age: 3h, proved-time: true") is Verdict.PASS
    assert verdict("bob@example.com", sigstore.issuer) is Verdict.UNTRUSTED
    assert verdict("alice@example.com", "https://other.example") is Verdict.UNTRUSTED
    assert verdict("'*@example.com'", sigstore.issuer) is Verdict.UNTRUSTED
    assert verdict("ALICE@example.com", sigstore.issuer) is Verdict.UNTRUSTED


def test_one_person_with_two_credentials_is_one_signer(scene: Scene, sigstore: Server) -> None:
    """By Sigstore and by a certificate, under one name: whoever vouches, it is alice twice."""
    scene.now = datetime.now(UTC)
    payload = scene.statement()
    ca = authority(start=scene.now - DAY, end=scene.now + DAY)
    scene.write({"ca.pem": ca.pem}, scene.root)
    scene.add(dump(sigstore.deployment.bundle(payload, identity="alice@example.com")))
    for name in ("alice", "bob"):
        leaf = ca.leaf(name, start=scene.now - DAY, end=scene.now + DAY)
        scene.add(with_certificates(load_private(leaf.key_pem, "key", None), leaf.chain_pem, "chain").sign(payload).raw)
        signers = (
            f"{{identities: [{{identity: alice@example.com, issuer: '{sigstore.issuer}'}}], "
            f"certificates: [{{ca: ca.pem, identity: {name}@example.com}}]}}"
        )
        rule = "{id: r, require: {evidence: evaluation, signed-by: ci, threshold: 2}}"
        found = by_identity(scene, sigstore, identity_policy(scene, signers, rule))
        assert found.verdict is (Verdict.PASS if name == "bob" else Verdict.UNTRUSTED), reasons(found)


def test_certificates(scene: Scene) -> None:
    ours, theirs = authority("ours"), authority("theirs")
    scene.write({"ca.pem": ours.pem}, scene.root)
    policy = identity_policy(scene, "{certificates: [{ca: ca.pem, identity: alice@example.com}]}")

    def verdict(ca: object, name: str, **options: object) -> Verdict:
        leaf = ca.leaf(name, **options)  # type: ignore[attr-defined]
        signer = with_certificates(load_private(leaf.key_pem, "key", None), leaf.chain_pem, "chain")
        other = Scene(Path(tempfile.mkdtemp(dir=scene.root)), scene.model)
        other.add(signer.sign(scene.statement()).raw)
        return decide(str(scene.model), policy, Deciding(directory=other.store), now=NOW).verdict

    assert verdict(ours, "alice") is Verdict.PASS
    assert verdict(ours.authority("intermediate"), "alice") is Verdict.PASS
    assert verdict(ours, "bob") is Verdict.UNTRUSTED
    assert verdict(theirs, "alice") is Verdict.UNTRUSTED
    assert verdict(ours, "alice", end=NOW - DAY) is Verdict.UNTRUSTED
    assert verdict(ours, "alice", start=NOW + DAY) is Verdict.UNTRUSTED
    assert verdict(ours.leaf("carol"), "alice") is Verdict.UNTRUSTED
