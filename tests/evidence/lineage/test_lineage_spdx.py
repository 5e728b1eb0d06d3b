"""What SPDX documents say about where a thing comes from; and that no form of them breaks the reader."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.evidence.lineage.interface import STATED, Said
from assay.evidence.lineage.reading import read
from assay.evidence.statement import Statement, Subject
from lineage_making import key, sha

SPDX3, SPDX2 = "https://spdx.dev/Document/v3", "https://spdx.dev/Document/v2.3"


def said(kind: str, predicate: Any) -> Said:
    return read(Statement((Subject("model", {"sha256": sha("model")}),), kind, predicate))


def element(name: str, kind: str, digest: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {"type": kind, "spdxId": f"urn:x#{name}", "name": name}
    return made | ({"verifiedUsing": [{"type": "Hash", "algorithm": "sha256", "hashValue": digest}]} if digest else {})


def relation(source: str, name: str, *to: str) -> dict[str, Any]:
    ends = [f"urn:x#{one}" for one in to]
    identity = f"urn:x#{source}-{name}"
    return {"type": "Relationship", "spdxId": identity, "from": f"urn:x#{source}", "relationshipType": name, "to": ends}


GRAPH = [
    {"type": "SpdxDocument", "spdxId": "urn:x#document", "rootElement": ["urn:x#bom"]},
    {"type": "software_Sbom", "spdxId": "urn:x#bom", "rootElement": ["urn:x#model"]},
    element("model", "ai_AIPackage", sha("model")),
    element("base", "ai_AIPackage", sha("base")),
    element("wiki", "dataset_DatasetPackage"),
    element("rows", "dataset_DatasetPackage", sha("rows").upper()),
    element("tokenizer", "ai_AIPackage", sha("tokenizer")),
    element("unknown", "ai_AIPackage"),
    element("torch", "software_Package", sha("torch")),
    relation("base", "ancestorOf", "model"),
    relation("model", "trainedOn", "wiki", "rows"),
    relation("model", "dependsOn", "torch", "tokenizer", "unknown", "rows"),
    relation("tokenizer", "trainedOn", "base"),
    relation("model", "contains", "torch"),
]


def test_version_3_states_ancestors_data_and_models_of_the_thing_itself() -> None:
    found = said(SPDX3, {"@context": "x", "@graph": GRAPH})
    assert found.kind == "model" and all(act.relation == STATED for act in found.acts)
    assert [(act.name, [(item.name, item.strong) for item in act.inputs]) for act in found.acts] == [
        ("derived from (SPDX document)", [("base", True)]),
        ("trained on (SPDX document)", [("wiki", False), ("rows", True)]),
        ("depends on (SPDX document)", [("tokenizer", True)]),
    ]
    assert found.acts[0].inputs[0].key == key("base") and found.acts[1].inputs[1].key == key("rows")
    assert {item.key for act in found.acts for item in act.outputs} == {key("model")}


@pytest.mark.parametrize("describes", [True, False])
def test_version_2_states_ancestors_and_what_it_was_generated_from(describes: bool) -> None:
    packages = [
        {"SPDXID": f"SPDXRef-{name}", "name": name, "checksums": [{"algorithm": "SHA256", "checksumValue": sha(name)}]}
        for name in ("model", "base", "data", "lib")
    ]
    relations = [
        ("SPDXRef-model", "DESCENDANT_OF", "SPDXRef-base"),
        ("SPDXRef-model", "GENERATED_FROM", "SPDXRef-data"),
        ("SPDXRef-model", "DEPENDS_ON", "SPDXRef-lib"),
        ("SPDXRef-lib", "DESCENDANT_OF", "SPDXRef-data"),
        *([("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-model")] if describes else []),
    ]
    names = ("spdxElementId", "relationshipType", "relatedSpdxElement")
    document = {
        "spdxVersion": "SPDX-2.3",
        "packages": packages,
        "relationships": [dict(zip(names, one, strict=True)) for one in relations],
        **({} if describes else {"documentDescribes": ["SPDXRef-model"]}),
    }
    (act,) = said(SPDX2, document).acts
    assert [item.key for item in act.inputs] == [key("base"), key("data")]


def test_circles_of_collections_end() -> None:
    graph = [
        {"type": "SpdxDocument", "spdxId": "a", "rootElement": ["b"]},
        {"type": "Bom", "spdxId": "b", "rootElement": ["a", "b"]},
        relation("model", "trainedOn", "wiki"),
    ]
    assert said(SPDX3, {"@graph": graph}).acts == ()


FIELDS = (
    "@graph @id spdxId SPDXID type from to relationshipType rootElement packages files relationships spdxElementId "
    "relatedSpdxElement documentDescribes verifiedUsing checksums algorithm hashValue name software_packageUrl"
)
WORDS = ("a", "b", "SpdxDocument", "ai_AIPackage", "ancestorOf", "trainedOn", "dependsOn", "DESCRIBES", "sha256")
JSON = st.recursive(
    st.none() | st.integers() | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS.split(" ")), inner, max_size=6),
    max_leaves=30,
)


@settings(max_examples=200, deadline=None)
@given(
    predicate=st.dictionaries(st.sampled_from(FIELDS.split(" ")), JSON, max_size=6),
    kind=st.sampled_from((SPDX2, SPDX3)),
)
def test_any_document_is_read_or_says_nothing(predicate: dict[str, Any], kind: str) -> None:
    for act in said(kind, predicate).acts:
        assert act.inputs and all(item.key and item.name.isprintable() for item in act.inputs)
