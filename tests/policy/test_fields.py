"""Fields that statements have in common: times, context, and the digests by which one leads to another."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.api import bom
from assay.collect.provenance.context import Context
from assay.evidence.statement import Statement, Subject, parse
from assay.policy import fields
from helpers import places
from policy.checks.test_run_checks import PROVENANCE

SHA, OTHER, THIRD = "ab" * 32, "cd" * 32, "ef" * 64
CYCLONEDX, SPDX3 = "https://cyclonedx.org/bom", "https://spdx.dev/Document/v3"
SLSA = "https://slsa.dev/provenance/v1"
COMMIT = "ab" * 20


def statement(kind: str, predicate: Any, **said: Any) -> Statement:
    return Statement((Subject("m", {"sha256": SHA}, said),), kind, predicate)


def at(day: int) -> datetime:
    return datetime(2026, 1, day, tzinfo=UTC)


def day(number: int) -> str:
    return f"2026-01-{number:02}T00:00:00Z"


@pytest.mark.parametrize(
    ("kind", "predicate"),
    [
        (SLSA, {"runDetails": {"metadata": {"startedOn": day(1), "finishedOn": day(2)}}}),
        (SLSA, {"runDetails": {"metadata": {"startedOn": day(2)}}}),
        ("https://slsa.dev/provenance/v0.2", {"metadata": {"buildStartedOn": day(1), "buildFinishedOn": day(2)}}),
        ("https://slsa.dev/verification_summary/v1", {"timeVerified": day(2)}),
        ("https://in-toto.io/attestation/svr/v0.2", {"timeCreated": day(2)}),
        (
            "https://in-toto.io/attestation/vulns/v0.2",
            {"metadata": {"scanStartedOn": day(1), "scanFinishedOn": day(2)}},
        ),
        ("https://in-toto.io/attestation/runtime-trace/v0.1", {"metadata": {"buildFinishedOn": day(2)}}),
        (CYCLONEDX, {"metadata": {"timestamp": day(2)}}),
        (CYCLONEDX + "/v1.5", {"metadata": {"timestamp": "2026-01-02T02:00:00+02:00"}}),
        ("https://spdx.dev/Document/v2.3", {"creationInfo": {"created": day(2)}}),
        (SPDX3, {"@graph": [{"type": "CreationInfo", "created": day(2)}]}),
        ("http://docs.oasis-open.org/sarif/sarif/2.1.0", {"runs": [{"invocations": [{"endTimeUtc": day(2)}]}]}),
        ("https://openvex.dev/ns/v0.2.0", {"timestamp": day(2)}),
        ("https://assay.dev/evaluation/v0.1", {"evaluatedOn": day(2)}),
        ("https://assay.dev/scan/v0.1", {"started": day(1), "finished": day(2)}),
        ("https://assay.dev/monitoring/v0.1", {"period": {"start": day(1), "end": day(2)}}),
    ],
)
def test_when_made(kind: str, predicate: Any) -> None:
    assert fields.when_made(statement(kind, predicate)) == at(2)
    # The annotation counts too, and the earlier of both is the age that it has at least.
    assert fields.when_made(statement(kind, predicate, time=day(5))) == at(2)
    assert fields.when_made(statement(kind, predicate, time=day(1))) == at(1)
    assert fields.when_made(statement(kind, {}, time=day(5))) == at(5)
    assert fields.when_made(statement(kind, predicate, time="soon")) == at(2)
    assert fields.when_made(statement(kind, {})) is None


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-02T00:00:00",
        "2026-01-02",
        "20260102T000000Z",
        "0001-01-01T00:00:00+23:00",
        "x",
        3,
        None,
        "٢٠٢٦-01-02T00:00:00Z",
    ],
)
def test_times_that_are_none(time: Any) -> None:
    found = fields.when_made(statement("https://x.example/p", {}, time=time))
    assert found == (at(2) if time == "2026-01-02" else None)


def test_context_names_are_those_that_are_collected() -> None:
    assert set(Context.__slots__) == fields.CONTEXT
    for name in (*fields.CONTEXT, "builder", "revision", "subject", "labels.stage"):
        assert fields.known(name)
    assert not fields.known("git_comit") and not fields.known("labels.")


def test_what_our_annotations_say() -> None:
    said = {"revision": "r1", "labels": {"stage": "prod"}, "context": {"git_commit": COMMIT.upper(), "run_id": "7"}}
    ours = statement(CYCLONEDX, {}, **said)
    assert fields.named(ours, "git_commit") == COMMIT
    assert fields.named(ours, "run_id") == "7"
    assert fields.named(ours, "revision") == "r1"
    assert fields.named(ours, "labels.stage") == "prod"
    assert fields.named(ours, "subject") == frozenset({SHA})
    for absent in ("git_branch", "labels.other", "builder", "nonsense", "target"):
        assert fields.named(ours, absent) is None
    # The pipeline's commit is never taken from the target's own.
    assert fields.named(statement(CYCLONEDX, {}, gitCommit=COMMIT, revision=COMMIT), "git_commit") is None


def test_what_another_builders_provenance_says() -> None:
    theirs = statement(SLSA, PROVENANCE)
    assert fields.named(theirs, "git_commit") == COMMIT
    assert fields.named(theirs, "git_url") == "https://github.com/o/r"
    assert fields.named(theirs, "git_branch") == "main"
    assert fields.named(theirs, "git_tag") is None
    assert fields.named(theirs, "run_id") == "77"
    assert fields.named(theirs, "builder") == "https://github.com/actions/runner/github-hosted"
    ours = statement(CYCLONEDX, {}, context={"git_url": "https://GitHub.com/o/r.git", "git_commit": COMMIT})
    for name in ("git_url", "git_commit"):
        assert fields.named(ours, name) == fields.named(theirs, name)
    two = copy.deepcopy(PROVENANCE)
    two["buildDefinition"]["resolvedDependencies"].append(
        {"uri": "git+https://x.example/y", "digest": {"gitCommit": "cd" * 20}}
    )
    assert fields.named(statement(SLSA, two), "git_commit") is None
    # Only provenance says such a thing of its source.
    assert fields.named(statement("https://x.example/p", PROVENANCE), "git_commit") is None


def test_older_provenance() -> None:
    predicate = {
        "builder": {"id": "b"},
        "materials": [
            {"uri": "git+ssh://git@host.example/o/r@refs/tags/v1", "digest": {"sha1": COMMIT}},
            {"digest": {"sha256": OTHER}},
        ],
    }
    older = statement("https://slsa.dev/provenance/v0.2", predicate)
    assert fields.named(older, "builder") == "b"
    assert fields.named(older, "git_commit") == COMMIT
    assert fields.named(older, "git_tag") == "v1"
    assert (
        fields.named(older, "git_url")
        == "ssh://host.example/o/r"
        == fields.named(statement(CYCLONEDX, {}, context={"git_url": "ssh://host.example/o/r"}), "git_url")
    )
    assert fields.inputs(older) == {OTHER}


def descriptor(**digest: str) -> dict[str, Any]:
    return {"name": "x", "uri": "u", "digest": digest}


@pytest.mark.parametrize(
    ("kind", "predicate"),
    [
        (SLSA, {"buildDefinition": {"resolvedDependencies": [descriptor(sha256=OTHER), descriptor(sha512=THIRD)]}}),
        ("https://in-toto.io/attestation/link/v0.3", {"materials": [descriptor(sha256=OTHER, sha512=THIRD)]}),
        (
            "https://in-toto.io/attestation/reference/v0.1",
            {"references": [descriptor(sha256=OTHER), descriptor(sha512=THIRD)]},
        ),
        (
            "https://in-toto.io/attestation/runtime-trace/v0.1",
            {
                "monitorLog": {
                    "fileAccess": [
                        descriptor(sha256=OTHER),
                        {**descriptor(sha512=THIRD), "annotations": {"access": "read"}},
                        {**descriptor(sha256="11" * 32), "annotations": {"access": "write"}},
                    ]
                }
            },
        ),
        ("https://assay.dev/evaluation/v0.1", {"dataset": descriptor(sha256=OTHER, sha512=THIRD)}),
    ],
)
def test_inputs(kind: str, predicate: Any) -> None:
    assert fields.inputs(statement(kind, predicate)) == {OTHER, THIRD}
    assert fields.inputs(statement("https://x.example/p", predicate)) == frozenset()


@pytest.mark.parametrize(
    "digest",
    [{"sha1": COMMIT}, {"gitCommit": COMMIT}, {"md5": "ab" * 16}, {"sha256": "ab" * 16}, {"sha256": "zz" * 32},
     {"sha256": 3}, {"gitCommit": SHA}, {"sha512": SHA}, {}, None, "x", ["sha256"]],
)  # fmt: skip
def test_weak_digests_lead_nowhere(digest: Any) -> None:
    predicate = {"materials": [{"name": "x", "digest": digest}]}
    assert fields.inputs(statement("https://in-toto.io/attestation/link/v0.3", predicate)) == frozenset()


def test_inputs_in_a_bill_of_materials() -> None:
    hashed = [{"alg": "SHA-256", "content": OTHER.upper()}, {"alg": "SHA-1", "content": COMMIT}]
    main = {
        "bom-ref": "target",
        "hashes": [{"alg": "SHA-256", "content": SHA}],
        "pedigree": {"ancestors": [{"name": "base", "hashes": [{"alg": "SHA-512", "content": THIRD}]}]},
        "modelCard": {"modelParameters": {"datasets": [{"ref": "dataset:d"}, {"ref": "target"}]}},
    }
    parts = [
        {"bom-ref": "dataset:d", "hashes": hashed},
        {"bom-ref": "lib", "hashes": [{"alg": "SHA-256", "content": "11" * 32}]},
    ]
    predicate = {"metadata": {"component": main}, "components": parts}
    assert fields.inputs(statement(CYCLONEDX, predicate)) == {OTHER, THIRD}
    predicate["formulation"] = [{"workflows": [{"tasks": [{"inputs": [{"resource": {"ref": "lib"}}]}]}]}]
    assert fields.inputs(statement(CYCLONEDX, predicate)) == {OTHER, THIRD, "11" * 32}


def test_inputs_in_spdx() -> None:
    def element(id: str, digest: str) -> dict[str, Any]:
        return {
            "type": "x",
            "spdxId": id,
            "verifiedUsing": [{"type": "Hash", "algorithm": "sha256", "hashValue": digest}],
        }

    graph = [
        {"type": "SpdxDocument", "spdxId": "doc", "rootElement": ["root"]},
        element("root", SHA),
        element("data", OTHER),
        element("base", "11" * 32),
        element("library", "22" * 32),
        {"type": "Relationship", "from": "root", "relationshipType": "trainedOn", "to": ["data"]},
        {"type": "Relationship", "from": "base", "relationshipType": "ancestorOf", "to": ["root"]},
        {"type": "Relationship", "from": "root", "relationshipType": "dependsOn", "to": ["library"]},
        {"type": "Relationship", "from": "library", "relationshipType": "trainedOn", "to": ["library"]},
    ]
    assert fields.inputs(statement(SPDX3, {"@graph": graph})) == {OTHER, "11" * 32}


def test_our_own_bill_of_a_model_names_no_input_by_itself(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x\n")
    (tmp_path / "requirements.txt").write_bytes(b"numpy==1 --hash=sha256:" + OTHER.encode() + b"\n")
    made = bom(str(tmp_path), format="statement", now=at(1))
    ours = parse(made.document, "made")
    assert fields.inputs(ours) == frozenset()
    assert fields.outputs(ours) == {made.contents}
    assert fields.when_made(ours) == at(1)
    assert isinstance(fields.named(ours, "context_type"), str)


def test_outputs_are_strong_digests_of_all_subjects() -> None:
    subjects = (
        Subject("a", {"sha256": SHA, "sha1": COMMIT}),
        Subject("b", {"sha512": THIRD}),
        Subject("c", {"md5": "x"}),
    )
    assert fields.outputs(Statement(subjects, "https://x.example/p", {})) == {SHA, THIRD}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from([SHA, COMMIT, "u@r"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
KINDS = [CYCLONEDX, SPDX3, SLSA, *(f"https://in-toto.io/attestation/{x}" for x in ("link/v0.3", "runtime-trace/v0.1"))]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([*KINDS, "https://spdx.dev/Document", "http://docs.oasis-open.org/sarif/sarif/2.1.0"]), st.data()
)
def test_any_statement_gets_an_answer(kind: str, data: st.DataObject) -> None:
    changed = copy.deepcopy(
        {**PROVENANCE, "metadata": {"component": {"pedigree": {"ancestors": [{}]}}}, "@graph": [{}]}
    )
    place = data.draw(st.sampled_from(list(places(changed))))
    inner: Any = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = data.draw(JSON)
    made = statement(kind, changed, time=data.draw(JSON), context=data.draw(JSON), labels=data.draw(JSON))
    fields.when_made(made)
    assert all(len(digest) in (64, 96, 128) for digest in fields.inputs(made))
    for name in (*fields.CONTEXT, "builder", "revision", "labels.x", "subject"):
        found = fields.named(made, name)
        assert found is None or isinstance(found, str | frozenset)
    json.dumps(sorted(fields.outputs(made)))
