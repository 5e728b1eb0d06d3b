"""SPDX 3.0.1: the reference bindings accept it, and its AI and Dataset profiles' rules hold."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import spdx_python_model

from assay.collect.bom.documents import spdx
from assay.collect.bom.interface import Card, Licence
from assay.collect.headers.interface import ModelFile, Tensor
from assay.errors import UsageError
from assay.evidence import predicates
from assay.evidence.predicates.spdx import CONTEXT
from collect.bom.samples import BOM, CARD, COMMIT, VARIANTS


def load(data: bytes) -> Any:
    """All objects of the document, read by the reference library, and written again: it checks types and forms when
    it reads, and that nothing required is missing when it writes.
    """
    model, objects = spdx_python_model.load_data(json.loads(data))
    model.JSONLDSerializer().serialize_data(objects)
    return objects


def related(document: dict[str, Any], kind: str) -> list[tuple[str, list[str]]]:
    names = {item.get("spdxId"): item.get("name") for item in document["@graph"]}
    return [
        (names.get(item["from"], item["from"]), [names.get(end) or end for end in item["to"]])
        for item in document["@graph"]
        if item["type"] == "Relationship" and item["relationshipType"] == kind
    ]


@pytest.mark.parametrize("name", VARIANTS)
def test_the_reference_library_reads_it(name: str) -> None:
    data = spdx.render(VARIANTS[name])
    document = json.loads(data)
    objects = load(data)
    graph = document["@graph"]
    ids = [item["spdxId"] for item in graph if "spdxId" in item]
    assert len(ids) == len(set(ids))
    assert len(list(objects.foreach_type("SpdxDocument"))) == 1
    assert objects.missing_ids == set()
    assert len(objects.objects) == len(graph)
    assert document["@context"] == CONTEXT
    predicates.check("https://spdx.dev/Document/v3", document)
    assert document == spdx.document(VARIANTS[name])


def test_the_library_would_notice() -> None:
    document = spdx.document(BOM)
    model = next(item for item in document["@graph"] if item["type"] == "ai_AIPackage")
    model["ai_colour"] = "blue"
    with pytest.raises(Exception, match="ai_colour"):
        load(json.dumps(document).encode())
    del model["ai_colour"], model["creationInfo"]
    with pytest.raises(Exception, match="creationInfo"):
        load(json.dumps(document).encode())


def test_what_it_says_of_a_model() -> None:
    document = spdx.document(BOM)
    graph = document["@graph"]
    model = next(item for item in graph if item["type"] == "ai_AIPackage" and item["name"] == "tagger")
    assert model["software_packageUrl"] == f"pkg:huggingface/org/tagger@{COMMIT}"
    assert model["ai_typeOfModel"] == ["BertForTokenClassification"]
    assert model["ai_domain"] == ["token-classification"]
    assert model["ai_metric"] == [{"type": "DictionaryEntry", "key": "f1 conll2003", "value": "0.91"}]
    assert {"type": "DictionaryEntry", "key": "parameters", "value": "17"} in model["ai_hyperparameter"]
    assert model["verifiedUsing"][0]["hashValue"] == BOM.manifest.contents().hex()
    assert related(document, "trainedOn") == [("tagger", ["conll2003", "org/däta"])] or related(
        document, "trainedOn"
    ) == [("tagger", ["org/däta", "conll2003"])]
    assert sorted(related(document, "ancestorOf")) == [("./local", ["tagger"]), ("org/base", ["tagger"])]
    contained = {name for source, ends in related(document, "contains") if source == "tagger" for name in ends}
    assert set(BOM.manifest.names) <= contained
    assert {name for _, ends in related(document, "dependsOn") for name in ends} == {"numpy", "six"}
    files = {item["name"]: item for item in graph if item["type"] == "software_File"}
    assert {item["algorithm"] for item in files["empty"]["verifiedUsing"]} == {"sha256", "blake3"}
    head = next(item for item in graph if item["type"] == "SpdxDocument")
    assert {"ai", "dataset", "simpleLicensing"} <= set(head["profileConformance"])


@pytest.mark.parametrize("name", VARIANTS)
def test_every_model_has_one_declared_and_one_concluded_licence(name: str) -> None:
    graph = spdx.document(VARIANTS[name])["@graph"]
    for item in graph:
        if item["type"] in ("ai_AIPackage", "dataset_DatasetPackage"):
            for kind in ("hasDeclaredLicense", "hasConcludedLicense"):
                mine = [r for r in graph if r.get("from") == item["spdxId"] and r["relationshipType"] == kind]
                assert len(mine) == 1


def test_a_licence_that_spdx_does_not_know_is_kept_in_its_words() -> None:
    bom = replace(BOM, cards=(replace(CARD, licences=(Licence("Llama 2 community", False, "LICENSE"),)),))
    graph = spdx.document(bom)["@graph"]
    expression = next(item for item in graph if item["type"] == "simplelicensing_LicenseExpression")
    words = next(item for item in graph if item["type"] == "simplelicensing_SimpleLicensingText")
    assert expression["simplelicensing_licenseExpression"].startswith("LicenseRef-Llama-2-community-")
    assert expression["simplelicensing_customIdToUri"][0]["value"] == words["spdxId"]
    assert words["simplelicensing_licenseText"] == "Llama 2 community"
    load(spdx.render(bom))


def test_same_input_same_bytes_no_path_of_this_machine() -> None:
    assert spdx.render(VARIANTS["code"]) == spdx.render(replace(VARIANTS["code"]))
    assert b"/home/me" not in spdx.render(VARIANTS["code"])


def test_hostile_strings() -> None:
    odd = "\ud800\x1b[31m\u202e'\"<>"
    card = Card("README.md", "model", odd, odd, odd, [odd], [odd], [odd], [odd], [Licence(odd, False, odd)])
    model = ModelFile("model.safetensors", odd, odd, (Tensor(odd, odd, (1,)),), metadata={odd: odd})
    data = spdx.render(replace(BOM, name=odd, cards=(card,), models=(model,)))
    assert b"\x1b" not in data
    load(data)


def test_no_sha256_no_document() -> None:
    with pytest.raises(UsageError):
        spdx.build(replace(BOM, manifest=replace(BOM.manifest, sha256=b"")))
