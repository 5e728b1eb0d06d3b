"""Formats, base models, data sets, completeness: what our own bills of real files say, and altered ones."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy
import pytest
import safetensors.numpy

from assay.errors import DocumentError
from assay.policy.checks import CHECKS
from policy.checks.asking import CYCLONEDX, SHA, SPDX2, SPDX3, ask, bill

CARD = b"---\nlicense: mit\nbase_model: google-bert/bert-base-uncased\ndatasets: [wikipedia]\n---\n# A model\n"
FILES = {
    "README.md": CARD,
    "config.json": b'{"architectures": ["BertModel"], "model_type": "bert"}',
    "model.safetensors": safetensors.numpy.save({"w": numpy.zeros((2, 3), dtype="float32")}),
}
PICKLE = {"old.pkl": pickle.dumps({"a": [1, 2, 3]})}
TABLE = {
    "train.csv": b"text,label,score\nfirst,1,0.5\nsecond,0,0.25\n",
    "README.md": b"---\nlicense: mit\n---\n# Data\n",
}


def test_formats_of_a_real_model(tmp_path: Path) -> None:
    safe, both = bill(tmp_path / "safe", FILES), bill(tmp_path / "both", {**FILES, **PICKLE})
    assert ask("formats", {"allow": ["safetensors"]}, safe) == []
    assert ask("formats", {"deny": ["pickle", "pytorch-*"]}, safe) == []
    assert ask("formats", {"allow": ["safetensors"]}, both) == ["'old.pkl' is 'pickle', not on the allow list"]
    assert ask("formats", {"deny": ["pick*"]}, both) == ["'old.pkl' is 'pickle', denied by pick*"]


def test_a_file_named_like_a_model_and_not_recognised(tmp_path: Path) -> None:
    odd = bill(tmp_path, {**FILES, "other.pt": b"no format at all\n"})
    (wrong,) = ask("formats", {"deny": ["pickle"]}, odd)
    assert wrong == "'other.pt' is named like a model and of no format that was recognised"
    assert ask("formats", {"deny": ["pickle"], "unknown": "allow"}, odd) == []


def test_a_bill_without_formats_shows_nothing(tmp_path: Path) -> None:
    assert ask("formats", {"deny": ["pickle"]}, bill(tmp_path, {"a.txt": b"x\n"})) == ["the bill names no model format"]


@pytest.mark.parametrize(("format", "kind"), [("json", CYCLONEDX), ("spdx-json", SPDX3)])
def test_base_models(tmp_path: Path, format: str, kind: str) -> None:
    predicate = bill(tmp_path / "model", FILES, format)
    assert ask("base-models", {"allow": ["google-bert/*"]}, predicate, kind) == []
    assert ask("base-models", {"deny": ["evil/*"]}, predicate, kind) == []
    for arguments in ({"allow": ["meta/*"]}, {"deny": ["google-bert/*"]}, {"allow": [f"sha256:{SHA}"]}):
        (wrong,) = ask("base-models", arguments, predicate, kind)
        assert "'google-bert/bert-base-uncased'" in wrong
    scratch = bill(tmp_path / "scratch", {**FILES, "README.md": b"---\nlicense: mit\n---\n# A model\n"}, format)
    assert ask("base-models", {"allow": ["google-bert/*"]}, scratch, kind) == ["the bill names no base model"]
    assert ask("base-models", {"allow": ["google-bert/*"], "none": "allow"}, scratch, kind) == []


def test_base_model_by_digest_and_purl(tmp_path: Path) -> None:
    predicate = bill(tmp_path, FILES)
    assert ask("base-models", {"allow": ["pkg:huggingface/google-bert/*"]}, predicate) == []
    base = predicate["metadata"]["component"]["pedigree"]["ancestors"][0]
    base["hashes"] = [{"alg": "SHA-256", "content": SHA}]
    assert ask("base-models", {"allow": [f"sha256:{SHA}"]}, predicate) == []
    base["hashes"] = [{"alg": "SHA-1", "content": SHA}]
    assert len(ask("base-models", {"allow": [f"sha256:{SHA}"]}, predicate)) == 1
    base["name"], base["group"], base["purl"] = f"sha256:{SHA}", None, None
    assert len(ask("base-models", {"allow": [f"sha256:{SHA}"]}, predicate)) == 1
    base["name"], base["group"] = "bert-base-uncased", "google-bert"
    base["purl"] = "pkg:huggingface/evil/bert-base-uncased"  # a borrowed name does not help
    assert len(ask("base-models", {"allow": ["google-bert/*"]}, predicate)) == 1
    assert len(ask("base-models", {"deny": ["evil/*"]}, predicate)) == 1
    for bad in ({"deny": [f"sha256:{SHA}"]}, {"allow": ["sha256:12"]}, {}):
        with pytest.raises(DocumentError, match="^p"):
            CHECKS["base-models"].prepare(bad, "p")


def test_a_real_data_set(tmp_path: Path) -> None:
    predicate = bill(tmp_path / "data", TABLE)
    good = [
        {"formats": ["csv", "parquet"]},
        {"columns": {"require": {"label": "int*", "text": "string"}, "forbid": ["ssn", "*email*"]}},
        {"rows": 2},
        {"rows": 2, "files": ["train*"]},
    ]
    for arguments in good:
        assert ask("dataset", arguments, predicate) == []
    bad = [
        ({"formats": ["parquet"]}, "'train.csv' is 'csv', not on the list of formats"),
        ({"columns": {"require": {"age": "*"}}}, "'train.csv' has no column 'age'"),
        ({"columns": {"require": {"label": "string"}}}, "the column 'label' of 'train.csv' is 'int64', needs 'string'"),
        ({"columns": {"forbid": ["SCORE"]}}, "'train.csv' has the column 'score', which must not be there"),
        ({"rows": 3}, "the data set has 2 rows, needs 3"),
        ({"rows": 1, "files": ["test*"]}, "no data file is described"),
        ({"sources": ["https://data.example/*"]}, "the data set does not say where it comes from"),
    ]
    for arguments, message in bad:
        assert ask("dataset", arguments, predicate)[0] == message


def test_sources(tmp_path: Path) -> None:
    predicate = bill(tmp_path, TABLE)
    wanted = {"sources": ["https://data.example/*"]}
    predicate["metadata"]["component"]["externalReferences"] = [{"type": "vcs", "url": "https://data.example/set"}]
    assert ask("dataset", wanted, predicate) == []
    assert len(ask("dataset", wanted, predicate, said={"origin": "https://elsewhere.example/x"})) == 1
    predicate["metadata"]["component"]["externalReferences"] = [
        {"type": "vcs", "url": "https://evil.example/data.example"}
    ]
    assert len(ask("dataset", wanted, predicate)) == 1


def test_a_shortened_schema_hides_no_column(tmp_path: Path) -> None:
    predicate = bill(tmp_path, TABLE)
    facts = predicate["components"][0]["data"][0]["contents"]["properties"]
    for value in ('[["text","string"]]', "[]", "nonsense", "[1]", "[" * 5000, None):
        changed = copy.deepcopy(predicate)
        for item in changed["components"][0]["data"][0]["contents"]["properties"]:
            if item["name"] == "assay:data:schema":
                item["value"] = value
        assert ask("dataset", {"columns": {"forbid": ["score"]}}, changed) != []
    assert any(item["name"] == "assay:data:schema" for item in facts)


def test_a_model_is_no_data_set(tmp_path: Path) -> None:
    assert "not about a data set" in ask("dataset", {"rows": 1}, bill(tmp_path, FILES))[0]


def package(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "library", "name": name, **fields}


def test_completeness() -> None:
    main = {"type": "application", "name": "app", "bom-ref": "app"}
    full = package(
        "a",
        version="1",
        purl="pkg:pypi/a@1",
        licenses=[{"license": {"id": "MIT"}}],
        supplier={"name": "A"},
        hashes=[{"alg": "SHA-256", "content": SHA}],
    )
    predicate = {"bomFormat": "CycloneDX", "metadata": {"component": main}, "components": [full]}
    every = ["version", "purl", "licence", "supplier", "digest"]
    assert ask("components", {"state": every}, predicate) == []
    assert ask("components", {"minimum": 2}, predicate) == ["1 packages are listed, needs 2"]
    for key, fact in zip(("version", "purl", "licenses", "supplier", "hashes"), every, strict=True):
        part = {name: value for name, value in full.items() if name != key}
        wrong = ask("components", {"state": every}, {**predicate, "components": [part]})
        assert len(wrong) == 1 and wrong[0].startswith(f"no {fact} is stated for 'a")
    weak = {**full, "hashes": [{"alg": "MD5", "content": "ab" * 16}]}
    assert len(ask("components", {"state": ["digest"]}, {**predicate, "components": [weak]})) == 1


def test_minimum_elements() -> None:
    main = {"type": "application", "name": "app", "version": "1", "bom-ref": "app", "purl": "pkg:generic/app@1"}
    main["supplier"] = {"name": "Us"}
    predicate: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "metadata": {"timestamp": "2026-01-01T00:00:00Z", "authors": [{"name": "Us"}], "component": main},
        "components": [package("a", version="1", purl="pkg:pypi/a@1", publisher="A")],
        "dependencies": [{"ref": "app", "dependsOn": []}],
    }
    assert ask("ntia", {}, predicate) == []
    places: list[tuple[tuple[Any, ...], str]] = [
        (("metadata", "timestamp"), "time"),
        (("metadata", "authors"), "author"),
        (("dependencies",), "dependencies"),
        (("components", 0, "publisher"), "supplier"),
        (("components", 0, "version"), "version"),
        (("components", 0, "purl"), "identifier"),
        (("metadata", "component", "supplier"), "supplier"),
    ]
    for place, element in places:
        changed = copy.deepcopy(predicate)
        inner: Any = changed
        for key in place[:-1]:
            inner = inner[key]
        del inner[place[-1]]
        assert len(ask("ntia", {}, changed)) == 1, place
        assert ask("ntia", {"exclude": [element]}, changed) == []
    assert ask("ntia", {}, {**predicate, "components": []}) == ["no component is listed"]


def test_minimum_elements_in_spdx() -> None:
    def part(id: str) -> dict[str, Any]:
        reference = {"referenceType": "purl", "referenceLocator": f"pkg:generic/{id}@1"}
        return {
            "SPDXID": id,
            "name": id,
            "versionInfo": "1",
            "supplier": "Organization: A",
            "externalRefs": [reference],
        }

    predicate: dict[str, Any] = {
        "creationInfo": {"created": "2026-01-01T00:00:00Z", "creators": ["Tool: x"]},
        "packages": [part("app"), part("a")],
        "documentDescribes": ["app"],
        "relationships": [{"spdxElementId": "app", "relationshipType": "DEPENDS_ON", "relatedSpdxElement": "a"}],
    }
    assert ask("ntia", {}, predicate, SPDX2) == []
    for key in ("creationInfo", "relationships"):
        assert ask("ntia", {}, {**predicate, key: None}, SPDX2) != []


def test_our_own_bill_lacks_only_suppliers_and_versions(tmp_path: Path) -> None:
    predicate = bill(tmp_path, {"requirements.txt": b"numpy==1.26.4\n", "a.py": b"1\n"})
    assert ask("ntia", {"exclude": ["supplier", "version"]}, predicate) == []
    spdx = bill(tmp_path, {}, "spdx-json")
    assert ask("ntia", {"exclude": ["supplier", "version"]}, spdx, SPDX3) == []


def test_what_cannot_be_read_is_always_told(tmp_path: Path) -> None:
    predicate = bill(tmp_path, {"requirements.txt": b"numpy==1.26.4\n", "a.py": b"1\n"})
    for components in ("x", 3, {"a": 1}, [*predicate["components"], "x"], [{"type": "library"}]):
        for name, arguments in (("packages", {"deny": ["evil"]}), ("licences", {"unknown": "allow"})):
            assert ask(name, arguments, {**predicate, "components": components}) != []
    text = json.dumps(predicate)
    assert ask("packages", {"deny": ["evil"]}, json.loads(text)) == []
