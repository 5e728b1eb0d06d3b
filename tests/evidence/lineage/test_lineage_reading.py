"""What other tools' statements say about steps; and that no form of them breaks the reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from assay.evidence import documents, listing
from assay.evidence.lineage.interface import STATED, Said
from assay.evidence.lineage.reading import read
from assay.evidence.statement import Statement, Subject
from lineage_making import LINK, SLSA, key, resource, sha

DATA = Path(__file__).parents[2] / "data"
WITNESS = "https://witness.testifysec.com/attestation-collection/v0.1"
CYCLONEDX = "https://cyclonedx.org/bom"


def said(kind: str, predicate: Any, *subjects: Subject) -> Said:
    return read(Statement(subjects or (Subject("model", {"sha256": sha("model")}),), kind, predicate))


def test_a_github_generators_provenance_is_a_step_with_its_source_and_files() -> None:
    found = json.loads((DATA / "lineage" / "slsa-github-generator.json").read_text())
    subject = found["subject"][0]
    act = read(
        Statement((Subject(subject["name"], subject["digest"]),), found["predicateType"], found["predicate"])
    ).acts[0]
    assert act.name == ".github/workflows/release.yml"
    assert act.builder.startswith("https://github.com/slsa-framework/slsa-github-generator/")
    assert [(item.key.partition(":")[0], item.strong) for item in act.inputs] == [("sha1", False), ("sha256", True)]
    assert act.outputs[0].key == f"sha256:{subject['digest']['sha256']}"
    assert act.started is not None and act.finished is not None and act.started < act.finished


def test_witness_collections_are_steps_from_materials_to_products() -> None:
    bundle = documents.read_documents((DATA / "evidence" / "witness-collection.json").read_bytes(), "witness")[0]
    statement, claims = listing.read(bundle, "witness")
    act = read(statement, claims).acts[0]
    assert act.name == "train" and [item.name for item in act.outputs] == ["model"] and not act.inputs
    collection = {
        "name": "train",
        "attestations": [
            {
                "type": "https://witness.dev/attestations/material/v0.1",
                "attestation": {"data.csv": {"sha256": sha("d")}},
            },
            {"type": "https://witness.dev/attestations/command-run/v0.1", "attestation": {"cmd": ["python", "a b.py"]}},
            {
                "type": "https://witness.dev/attestations/product/v0.1",
                "attestation": {"m.onnx": {"mime_type": "x", "digest": {"sha256": sha("m")}}},
            },
        ],
    }
    act = said(WITNESS, collection).acts[0]
    assert [item.key for item in act.inputs] == [key("d")] and [item.key for item in act.outputs] == [key("m")]
    assert act.command == "python 'a b.py'"


def test_a_link_that_failed_made_nothing() -> None:
    link = {"name": "train", "materials": [resource("data")], "byproducts": {"outcome": "killed"}}
    act = said(LINK, link, Subject("run:1", {"sha256": sha("run")})).acts[0]
    assert act.outputs == () and act.outcome == "killed" and act.inputs[0].key == key("data")


def test_an_evaluation_did_not_make_the_model_that_it_read() -> None:
    act = said(LINK, {"name": "evaluate", "materials": [resource("model")]}).acts[0]
    assert act.outputs == ()


def test_a_bill_of_materials_states_ancestors_and_data_sets_by_digest_or_by_name_only() -> None:
    bill = {
        "metadata": {
            "component": {
                "type": "machine-learning-model",
                "bom-ref": "main",
                "name": "model",
                "pedigree": {"ancestors": [{"type": "machine-learning-model", "group": "org", "name": "base"}]},
                "modelCard": {"modelParameters": {"datasets": [{"ref": "d1"}, {"type": "dataset", "name": "wiki"}]}},
            }
        },
        "components": [
            {"type": "data", "bom-ref": "d1", "name": "d1", "hashes": [{"alg": "SHA-256", "content": sha("d1")}]},
            {"type": "library", "bom-ref": "lib", "name": "lib", "hashes": [{"alg": "SHA-256", "content": sha("lib")}]},
        ],
        "dependencies": [{"ref": "main", "dependsOn": ["d1", "lib"]}],
    }
    found = said(CYCLONEDX, bill)
    assert found.kind == "model" and all(act.relation == STATED for act in found.acts)
    assert [[(item.name, item.strong) for item in act.inputs] for act in found.acts] == [
        [("org/base", False)],
        [("d1", True), ("wiki", False)],
    ]


def test_a_digest_that_is_none_joins_nothing() -> None:
    for digest in ({"sha256": "xyz"}, {"sha256": sha("a")[:40]}, {"gitCommit": "a" * 40}, {"md5": "0" * 32}):
        act = said(LINK, {"name": "s", "materials": [{"name": "a", "digest": digest}]}).acts[0]
        assert not act.inputs[0].strong and not act.inputs[0].joins


def test_names_cannot_steer_a_terminal_and_are_bounded() -> None:
    act = said(
        LINK, {"name": "\x1b[2J" + "x" * 5000, "materials": [{"name": "a\u202eb", "digest": {"sha256": sha("a")}}]}
    ).acts[0]
    assert act.name.isprintable() and len(act.name) <= 200 and act.inputs[0].name.isprintable()


FIELDS = (
    "name materials digest sha256 uri annotations attestations type attestation cmd metadata component components "
    "pedigree ancestors hashes alg buildDefinition resolvedDependencies runDetails startedOn purl dependencies ref "
    "dependsOn byproducts outcome resourceUri verificationResult bom-ref modelCard modelParameters datasets"
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS.split(" ")), inner, max_size=5),
    max_leaves=25,
)


@settings(max_examples=150, deadline=None)
@given(
    predicate=st.dictionaries(
        st.sampled_from(
            [
                "name",
                "materials",
                "metadata",
                "components",
                "dependencies",
                "attestations",
                "buildDefinition",
                "runDetails",
                "invocation",
                "purl",
                "resourceUri",
                "command",
            ]
        ),
        JSON,
    ),
    kind=st.sampled_from(
        [
            LINK,
            SLSA,
            WITNESS,
            CYCLONEDX,
            "https://slsa.dev/provenance/v0.2",
            "https://in-toto.io/attestation/release/v0.1",
            "https://slsa.dev/verification_summary/v1",
        ]
    ),
)
def test_no_predicate_breaks_the_reader(predicate: dict[str, Any], kind: str) -> None:
    found = said(kind, predicate)
    for act in found.acts:
        assert act.name and all(item.name or item.key for item in (*act.inputs, *act.outputs))
