"""Differences between two bills of materials."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from assay.collect.bom.build import Bom
from assay.collect.bom.difference import (
    Difference,
    LicenceChange,
    PackageChange,
    TensorChange,
    describe,
    difference,
)
from assay.collect.bom.documents import cyclonedx, facts
from assay.collect.bom.interface import Licence, Package
from assay.collect.headers.interface import Tensor
from assay.errors import DocumentError
from collect.bom.samples import BOM, CARD, FILES, MODEL, PACKAGES, TENSORS, manifest


def between(old: Bom, new: Bom) -> Difference:
    return difference(cyclonedx.document(old), cyclonedx.build(new))


def test_nothing_changed() -> None:
    found = between(BOM, BOM)
    assert not found
    assert describe(found) == []


def test_files() -> None:
    files = dict(FILES)
    del files["empty"]
    files |= {"config.json": b"{ }", "new.bin": b"1"}
    found = between(BOM, replace(BOM, manifest=manifest(files)))
    assert (found.added, found.removed, found.modified) == (("new.bin",), ("empty",), ("config.json",))
    assert describe(found) == ["file added: new.bin", "file removed: empty", "file modified: config.json"]


def test_packages() -> None:
    changed = replace(PACKAGES[1], version="2.1.0", purl="pkg:pypi/numpy@2.1.0", licences=())
    added = Package("torch", "2.0", "pkg:pypi/torch@2.0", "locked", "uv.lock")
    found = between(BOM, replace(BOM, packages=(PACKAGES[0], changed, added)))
    assert found.packages == (
        PackageChange("numpy", ("2.0.1",), ("2.1.0",)),
        PackageChange("six", ("",), ()),
        PackageChange("torch", (), ("2.0",)),
    )
    assert found.licences == (LicenceChange("numpy", ("BSD-3-Clause AND MIT",), ()),)
    assert describe(found) == [
        "package changed: numpy 2.0.1 to 2.1.0",
        "package removed: six no version",
        "package added: torch 2.0",
        "licence of numpy changed: BSD-3-Clause AND MIT to none",
    ]


def test_tensors_by_name() -> None:
    tensors = (
        Tensor("encoder.weight", "f32", (4, 4)),
        Tensor("encoder.bias", "f16", (4,)),
        Tensor("head", "f32", (2,)),
    )
    found = between(BOM, replace(BOM, models=(replace(MODEL, tensors=tensors),)))
    file = "model.safetensors"
    assert found.tensors == (
        TensorChange(file, "encoder.bias", ("bf16", (4,)), ("f16", (4,))),
        TensorChange(file, "encoder.weight", ("f32", (4, 3)), ("f32", (4, 4))),
        TensorChange(file, "head", None, ("f32", (2,))),
        TensorChange(file, "scale", ("f32", ()), None),
    )
    assert describe(found)[:3] == [
        "tensor changed: encoder.bias in model.safetensors, bf16[4] to f16[4]",
        "tensor changed: encoder.weight in model.safetensors, f32[4, 3] to f32[4, 4]",
        "tensor added: head in model.safetensors, f32[2]",
    ]


def test_order_of_tensors_is_no_difference() -> None:
    assert not between(BOM, replace(BOM, models=(replace(MODEL, tensors=TENSORS[::-1]),)))


def test_too_many_tensors_differ_without_names() -> None:
    many = tuple(Tensor(f"t{i}", "f32", (1,)) for i in range(facts.MAX_TENSORS + 1))
    found = between(BOM, replace(BOM, models=(replace(MODEL, tensors=many),)))
    assert found.tensors == (TensorChange("model.safetensors", "", None, None),)
    assert describe(found) == ["tensors changed: model.safetensors (too many to list)"]


def test_licence_of_the_target() -> None:
    card = replace(CARD, licences=(Licence("GPL-3.0-only", True, "README.md"),))
    assert describe(between(BOM, replace(BOM, cards=(card,)))) == ["licence changed: MIT to GPL-3.0-only"]


def test_bills_of_other_tools_nested_and_with_other_digests() -> None:
    inner = {"type": "file", "name": "a", "hashes": [{"alg": "SHA-1", "content": "0" * 40}]}
    old = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "components": [{"type": "application", "group": "g", "name": "app", "version": "1", "components": [inner]}],
    }
    new = json.loads(json.dumps(old))
    assert not difference(old, new)
    new["components"][0]["components"][0]["hashes"][0]["content"] = "1" * 40
    new["components"][0]["version"] = "2"
    found = difference(old, new)
    assert found.modified == ("a",)
    assert found.packages == (PackageChange("g/app", ("1",), ("2",)),)
    new["components"][0]["components"][0]["hashes"] = [{"alg": "SHA-256", "content": "0" * 64}]
    assert difference(old, new).modified == ("a",)  # nothing shows that the bytes are the same


@pytest.mark.parametrize(
    "text", ["", "[", "[]", "7", '{"f32": 3}', '{"f32": [["a"]]}', '{"f32": [["a", ["x"]]]}', "[" * 9999]
)
def test_a_damaged_list_of_tensors_is_an_error_that_names_the_file(text: str) -> None:
    document = cyclonedx.document(BOM)
    file = next(part for part in document["components"] if part["name"] == "model.safetensors")
    for item in file["properties"]:
        if item["name"] == facts.TENSORS:
            item["value"] = text
        if item["name"] == facts.TENSORS_DIGEST:
            item["value"] = "0"
    with pytest.raises(DocumentError, match=r"model\.safetensors"):
        difference(document, cyclonedx.document(BOM))


def test_not_a_bill_of_materials() -> None:
    with pytest.raises(DocumentError, match="CycloneDX"):
        difference({}, {})


def test_sentences_are_safe_for_a_terminal() -> None:
    found = Difference(added=("a\x1b[2J\u202e",))
    assert "\x1b" not in describe(found)[0]
    assert "\u202e" not in describe(found)[0]
