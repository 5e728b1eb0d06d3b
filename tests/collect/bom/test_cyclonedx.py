"""CycloneDX: valid in the official library's strict mode, the same every time, and exact when read back."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st
from packageurl import PackageURL

from assay.collect.bom.documents import cyclonedx, facts
from assay.collect.bom.interface import Card, Licence
from assay.collect.headers.interface import ModelFile, Tensor
from assay.errors import DocumentError, UsageError
from assay.evidence.predicates.cyclonedx import claimed_manifest, parse
from assay.targets.interface import DIGEST, SEGMENT, Manifest, Reference
from collect.bom.samples import BOM, CARD, COMMIT, FILES, MODEL, VARIANTS, manifest, synthetic

VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)


def assert_valid(data: bytes) -> None:
    error = VALIDATOR.validate_str(data.decode())
    assert error is None, error


def references(node: Any) -> list[str]:
    """All bom-refs of a document."""
    if isinstance(node, dict):
        found = [node["bom-ref"]] if "bom-ref" in node else []
        return found + [ref for value in node.values() for ref in references(value)]
    return [ref for value in node for ref in references(value)] if isinstance(node, list) else []


def strings(node: Any) -> list[str]:
    """All strings of a document."""
    if isinstance(node, str):
        return [node]
    inner = [*node, *node.values()] if isinstance(node, dict) else node if isinstance(node, list) else []
    return [text for item in inner for text in strings(item)]


def properties(component: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in component["properties"]}


@pytest.mark.parametrize("name", VARIANTS)
def test_valid_with_unique_references(name: str) -> None:
    document = cyclonedx.document(VARIANTS[name])
    data = cyclonedx.render(VARIANTS[name])
    assert_valid(data)
    assert json.loads(data) == document
    refs = references(document)
    assert len(refs) == len(set(refs))
    for edge in document["dependencies"]:
        assert {edge["ref"], *edge.get("dependsOn", ())} <= set(refs)
    for component in [document["metadata"]["component"], *document["components"]]:
        if "purl" in component:
            PackageURL.from_string(component["purl"])


def test_the_validator_would_notice() -> None:
    document = cyclonedx.document(BOM)
    document["metadata"]["component"]["colour"] = "blue"
    assert VALIDATOR.validate_str(json.dumps(document)) is not None


def test_what_it_says_of_a_model() -> None:
    document = cyclonedx.document(BOM)
    main = document["metadata"]["component"]
    assert main["type"] == "machine-learning-model"
    assert main["purl"] == f"pkg:huggingface/org/tagger@{COMMIT}"
    assert main["hashes"] == [{"alg": "SHA-256", "content": BOM.manifest.contents().hex()}]
    assert main["externalReferences"] == [{"type": "vcs", "url": "https://huggingface.co/org/tagger"}]
    assert main["licenses"] == [
        {
            "license": {
                "id": "MIT",
                "acknowledgement": "declared",
                "properties": [
                    {"name": "assay:source", "value": "README.md#license"},
                    {"name": "assay:source", "value": "LICENSE"},
                ],
            }
        }
    ]
    assert main["modelCard"]["modelParameters"] == {
        "task": "token-classification",
        "architectureFamily": "bert",
        "modelArchitecture": "BertForTokenClassification",
        "datasets": [{"ref": "dataset:conll2003"}, {"ref": "dataset:org/däta"}],
        "inputs": [{"format": "input_ids int64[batch,seq]"}],
    }
    assert main["modelCard"]["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "f1", "value": "0.91", "slice": "conll2003"}
    ]
    assert [part["name"] for part in main["pedigree"]["ancestors"]] == ["local", "base"]
    assert main["pedigree"]["ancestors"][1]["purl"] == "pkg:huggingface/org/base"
    said = properties(main)
    assert said["assay:model:parameters"] == "17"
    assert said["assay:model:quantisation"] == "int8"
    assert json.loads(said["assay:model:dtypes"])["f32"] == {"tensors": 2, "parameters": 13}
    said = properties(document["metadata"])
    assert said["assay:ignored"] == ".git/"


def test_what_it_says_of_files_packages_and_data() -> None:
    document = cyclonedx.document(BOM)
    by_name = {(part["type"], part["name"]): part for part in document["components"]}
    weights = properties(by_name["file", "model.safetensors"])
    assert json.loads(weights["assay:tensors"]) == {
        "bf16": [["encoder.bias", [4]]],
        "f32": [["encoder.weight", [4, 3]], ["scale", []]],
    }
    numpy = by_name["library", "numpy"]
    assert (numpy["version"], numpy["purl"]) == ("2.0.1", "pkg:pypi/numpy@2.0.1")
    assert [place["location"] for place in numpy["evidence"]["occurrences"]] == ["pyproject.toml", "uv.lock"]
    assert numpy["licenses"] == [{"expression": "BSD-3-Clause AND MIT", "acknowledgement": "declared"}]
    assert properties(numpy)["assay:licence:source"] == "METADATA#License-Expression"
    assert "version" not in by_name["library", "six"]
    table = by_name["data", "data/train.csv"]
    assert table["data"][0]["contents"]["properties"][-1] == {
        "name": "assay:data:schema",
        "value": '[["a","int64"],["b","int64"]]',
    }
    edges = {edge["ref"]: edge.get("dependsOn") for edge in document["dependencies"]}
    assert edges["data:data/train.csv"] == ["file:data/train.csv"]
    assert "package:pkg:pypi/numpy@2.0.1" in edges["target"]


def test_a_model_inside_of_code_has_its_own_component() -> None:
    document = cyclonedx.document(VARIANTS["code"])
    assert document["metadata"]["component"]["type"] == "application"
    models = [part for part in document["components"] if part["type"] == "machine-learning-model"]
    assert [(part["name"], part["bom-ref"]) for part in models] == [("model.safetensors", "model:model.safetensors")]


def test_no_path_of_this_machine_and_no_other_time() -> None:
    data = cyclonedx.render(VARIANTS["code"])
    assert b"/home/me" not in data
    assert set(re.findall(rb"20\d\d-\d\d-\d\dT[^\"]*", data)) == {b"2026-01-02T03:04:05Z"}


def test_same_input_same_bytes_and_other_contents_another_serial() -> None:
    assert cyclonedx.render(BOM) == cyclonedx.render(replace(BOM))
    moved = replace(VARIANTS["code"], reference=Reference("dir", "/elsewhere/tagger"))
    assert cyclonedx.render(VARIANTS["code"]) == cyclonedx.render(moved)
    changed = replace(BOM, manifest=manifest(FILES | {"empty": b"!"}))
    serials = {cyclonedx.document(bom)["serialNumber"] for bom in (BOM, changed)}
    assert len(serials) == 2


@pytest.mark.parametrize(
    "stated",
    [
        [],
        [Licence("MIT", True, "a"), Licence("Apache-2.0", True, "b")],
        [Licence("MIT OR Apache-2.0", True, "a")],
        [Licence("MIT OR Apache-2.0", True, "a"), Licence("GPL-3.0-only", True, "b")],
        [Licence("llama2", False, "a")],
        [Licence("", False, "a")],
        [Licence("LicenseRef-scancode-x", True, "a")],
        [Licence("Apache-2.0 WITH LLVM-exception", True, "a")],
        [Licence("GPL-2.0+", True, "a")],
        [Licence("see\x00 the \ud800 file", False, "\ud800")],
    ],
)
def test_every_form_of_licence_is_valid(stated: list[Licence]) -> None:
    bom = replace(BOM, cards=(replace(CARD, licences=stated),))
    assert_valid(cyclonedx.render(bom))


def test_every_id_that_we_take_for_one_is_on_the_list_of_the_schema() -> None:
    import license_expression

    known = license_expression.get_spdx_licensing().known_symbols
    exceptions = {key for key, symbol in known.items() if symbol.is_exception}
    ids = [key for key in known if not key.startswith("LicenseRef-") and key not in exceptions]
    assert len(ids) > 500
    stated = [Licence(key, True, "x") for key in ids]
    assert_valid(cyclonedx.render(replace(VARIANTS["bare"], cards=(replace(CARD, licences=stated),))))


def test_hostile_strings_stay_valid_json() -> None:
    odd = "\ud800\x1b[31m\u202e" + "x" * 100_000
    model = replace(
        MODEL, architecture=odd, metadata={odd: odd}, warnings=[odd], tensors=(Tensor(odd, odd, (1,)),), format=odd
    )
    card = Card("README.md", "model", odd, odd, odd, [odd], [odd], [odd], [odd], [Licence(odd, False, odd)])
    card = replace(card, metrics=[{"type": odd, "value": odd, "dataset": odd}], metadata={odd: odd})
    data = cyclonedx.render(replace(BOM, models=(model,), cards=(card,), warnings=(odd,)))
    assert_valid(data)
    assert "\u202e" not in data.decode()
    assert not any("\x1b" in text for text in strings(json.loads(data)))


def test_two_odd_names_stay_two_references() -> None:
    card = replace(CARD, datasets=("a\x00", "a\x01", "a"), base_models=("b\x00", "b\x01"))
    refs = references(cyclonedx.document(replace(BOM, cards=(card,))))
    assert len(refs) == len(set(refs))


def test_too_many_tensors_are_counted_and_digested_only() -> None:
    tensors = [Tensor(f"t{i}", "f32", (1,)) for i in range(facts.MAX_TENSORS + 1)]
    said = {item.name: item.value for item in facts.of_model(ModelFile("m", "gguf", tensors=tensors))}
    assert facts.TENSORS not in said
    assert said["assay:tensors:count"] == str(len(tensors))
    other = facts.tensors_digest([*tensors[:-1], Tensor("t0", "f16", (1,))])
    assert said[facts.TENSORS_DIGEST] != other
    assert said[facts.TENSORS_DIGEST] == facts.tensors_digest(tensors[::-1])


# The way back


@pytest.mark.parametrize("name", VARIANTS)
def test_the_manifest_comes_back_exactly(name: str) -> None:
    bom = VARIANTS[name]
    for document in (
        cyclonedx.document(bom),
        json.loads(cyclonedx.render(bom)),
        cyclonedx.build(bom),
    ):
        back = claimed_manifest(document)
        assert list(back.names) == list(bom.manifest.names)
        assert back.sizes == bom.manifest.sizes
        assert back.sha256 == bom.manifest.sha256
        assert back.blake3 == bom.manifest.blake3
        assert back.segments == bom.manifest.segments
        assert back.single == bom.manifest.single


def test_a_manifest_without_blake3_comes_back() -> None:
    plain = replace(BOM.manifest, blake3=b"", segments={})
    back = claimed_manifest(cyclonedx.document(replace(BOM, manifest=plain)))
    assert back.blake3 == b""
    assert back.segments == {}
    assert back.sha256 == plain.sha256


def test_a_manifest_without_sha256_is_not_written() -> None:
    with pytest.raises(UsageError, match="SHA-256"):
        cyclonedx.build(replace(BOM, manifest=replace(BOM.manifest, sha256=b"")))


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="/\\", exclude_categories=["C", "Zl", "Zp"])).filter(
            lambda name: name not in ("", ".", "..")
        ),
        st.binary(max_size=50),
        min_size=1,
        max_size=8,
    )
)
def test_any_names_come_back(files: dict[str, bytes]) -> None:
    bom = replace(VARIANTS["bare"], manifest=manifest(files))
    back = claimed_manifest(json.loads(cyclonedx.render(bom)))
    assert back.contents() == bom.manifest.contents()
    assert list(back.names) == sorted(files)


def file_of(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(p for p in document["components"] if p["type"] == "file" and p["name"] == name)


def set_size(document: dict[str, Any], value: str | None) -> None:
    file_of(document, "config.json")["properties"] = [{"name": "assay:size", "value": value}]


def alter_hash(document: dict[str, Any], content: str, alg: str = "SHA-256") -> None:
    hashes = file_of(document, "config.json")["hashes"]
    next(item for item in hashes if item["alg"] == alg)["content"] = content


def drop_main(document: dict[str, Any], name: str) -> None:
    main = document["metadata"]["component"]
    main["properties"] = [item for item in main["properties"] if item["name"] != name]


def alter_segments(document: dict[str, Any], change: Callable[[str], str]) -> None:
    for item in file_of(document, "model.safetensors")["properties"]:
        if item["name"] == "assay:blake3:segments":
            item["value"] = change(item["value"])


ATTACKS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "dropped": (lambda d: d["components"].remove(file_of(d, "empty")), "says otherwise"),
    "added": (lambda d: d["components"].append({**file_of(d, "empty"), "name": "evil.py"}), "says otherwise"),
    "twice": (lambda d: d["components"].append(file_of(d, "empty")), "the file 'empty' twice"),
    "renamed": (lambda d: file_of(d, "empty").update(name="full"), "its own assay:contents"),
    "dots": (lambda d: file_of(d, "empty").update(name="../empty"), "not a plain path"),
    "absolute": (lambda d: file_of(d, "empty").update(name="/empty"), "not a plain path"),
    "inner dot": (lambda d: file_of(d, "empty").update(name="a/./b"), "not a plain path"),
    "slashes": (lambda d: file_of(d, "empty").update(name="a//b"), "not a plain path"),
    "backslash": (lambda d: file_of(d, "empty").update(name="a\\b"), "not a plain path"),
    "newline": (lambda d: file_of(d, "empty").update(name="a\nb"), "not a plain path"),
    "no name": (lambda d: file_of(d, "empty").update(name=""), "not a plain path"),
    "surrogate": (lambda d: file_of(d, "empty").update(name="a\ud800"), "not UTF-8"),
    "name is a number": (lambda d: file_of(d, "empty").update(name=7), "Expected `str`"),
    "no size": (lambda d: file_of(d, "empty").pop("properties"), "assay:size is missing"),
    "null size": (lambda d: set_size(d, None), "not a number of bytes"),
    "negative size": (lambda d: set_size(d, "-1"), "not a number of bytes"),
    "padded size": (lambda d: set_size(d, "02"), "not a number of bytes"),
    "spaced size": (lambda d: set_size(d, " 2"), "not a number of bytes"),
    "arabic size": (lambda d: set_size(d, "٢"), "not a number of bytes"),
    "huge size": (lambda d: set_size(d, "9" * 5000), "not a number of bytes"),
    "other size": (lambda d: set_size(d, "3"), "its own assay:contents"),
    "two sizes": (lambda d: file_of(d, "empty")["properties"].append(file_of(d, "empty")["properties"][0]), "twice"),
    "no hashes": (lambda d: file_of(d, "empty").pop("hashes"), "SHA-256 hash is missing"),
    "weak hash": (lambda d: file_of(d, "empty").update(hashes=[{"alg": "MD5", "content": "0" * 32}]), "missing"),
    "short hash": (lambda d: alter_hash(d, "00"), "not lower-case hex"),
    "upper case": (lambda d: alter_hash(d, "A" * 64), "not lower-case hex"),
    "spaces": (lambda d: alter_hash(d, "00 " * 20 + "0000"), "not lower-case hex"),
    "other hash": (lambda d: alter_hash(d, "0" * 64), "its own assay:contents"),
    "not hex": (lambda d: alter_hash(d, "g" * 64), "not lower-case hex"),
    "bad blake3": (lambda d: alter_hash(d, "", "BLAKE3"), "not lower-case hex"),
    "two hashes": (lambda d: file_of(d, "empty")["hashes"].append(file_of(d, "empty")["hashes"][0]), "two hashes"),
    "some blake3": (lambda d: file_of(d, "empty")["hashes"].pop(), "some have none"),
    "segment lost": (lambda d: alter_segments(d, lambda text: text[:64]), "does not fit its size"),
    "segment cut": (lambda d: alter_segments(d, lambda text: text[:-1]), "not lower-case hex"),
    "no segments": (lambda d: alter_segments(d, lambda text: ""), "does not fit its size"),
    "no contents": (lambda d: drop_main(d, "assay:contents"), "does not list every file"),
    "no count": (lambda d: drop_main(d, "assay:files"), "says otherwise"),
    "no metadata": (lambda d: d.pop("metadata"), "does not list every file"),
    "one file": (
        lambda d: d["metadata"]["component"]["properties"].append({"name": "assay:single", "value": "true"}),
        "is of one file",
    ),
    "nested away": (
        lambda d: d["metadata"]["component"].update(components=d.pop("components")),
        "lists 0 files",
    ),
    "not a document": (lambda d: d.pop("bomFormat"), "bomFormat"),
    "components": (lambda d: d.update(components={}), "components"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_altered_list_is_refused(name: str) -> None:
    change, message = ATTACKS[name]
    document = json.loads(cyclonedx.render(BOM))
    assert claimed_manifest(document)
    change(document)
    with pytest.raises(DocumentError, match=message):
        claimed_manifest(document)


def test_a_whole_hash_for_a_large_file_is_refused() -> None:
    document = cyclonedx.document(replace(VARIANTS["bare"], manifest=manifest({"a": b"x" * (SEGMENT + 1)})))
    file = file_of(document, "a")
    file["hashes"].append({"alg": "BLAKE3", "content": "0" * 64})
    with pytest.raises(DocumentError, match="both a BLAKE3 hash and segments"):
        claimed_manifest(document)
    file["properties"] = file["properties"][:1]
    with pytest.raises(DocumentError, match="need assay:blake3:segments"):
        claimed_manifest(document)


def test_order_does_not_matter() -> None:
    document = cyclonedx.document(BOM)
    document["components"].reverse()
    assert claimed_manifest(document).contents() == BOM.manifest.contents()


def test_a_bill_of_another_tool_is_read_but_has_no_list() -> None:
    other = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.4",
        "metadata": {"tools": [{"vendor": "x", "name": "y"}], "component": {"type": "file", "name": "z"}},
        "components": [{"type": "file", "name": "a", "hashes": [{"alg": "SHA-1", "content": "0" * 40}]}],
    }
    assert parse(other).spec_version == "1.4"
    with pytest.raises(DocumentError, match="does not list every file") as caught:
        claimed_manifest(other)
    assert caught.value.hint


@settings(max_examples=150)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["name", "type", "value", "properties", "hashes", "components"]), inner)
        ),
        max_leaves=12,
    ),
    st.sampled_from(["components", "metadata", "dependencies", "specVersion", "version"]),
)
def test_any_shape_gives_a_sentence(junk: object, key: str) -> None:
    document = cyclonedx.document(VARIANTS["bare"]) | {key: junk}
    try:
        back = claimed_manifest(document)
    except DocumentError as error:
        assert len(error.message) < 600
        assert error.message.isprintable()
    else:
        assert back.contents() == VARIANTS["bare"].manifest.contents()


def test_deep_nesting_is_an_error() -> None:
    deep: dict[str, Any] = {"type": "library", "name": "x"}
    for _ in range(100_000):
        deep = {"type": "library", "name": "x", "components": [deep]}
    with pytest.raises(DocumentError, match="too deeply"):
        parse({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [deep]})


def test_many_files_come_back() -> None:
    many = synthetic(20_000)
    data = msgspec.json.encode(cyclonedx.build(replace(VARIANTS["bare"], manifest=many)))
    back = claimed_manifest(msgspec.json.decode(data))
    assert back.sha256 == many.sha256
    assert back.sizes == array("Q", many.sizes)
    assert isinstance(back, Manifest)
    assert len(back.blake3) == 20_000 * DIGEST
