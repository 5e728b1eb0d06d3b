"""The whole bill of materials from real files, what kind of thing a target is, and the table for people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from safetensors.numpy import save_file

from assay.collect.bom.build import Bom, collect, kind_of
from assay.collect.bom.difference import describe, difference
from assay.collect.bom.documents import cyclonedx, spdx, table
from assay.collect.headers.interface import ModelFile, Tensor
from assay.evidence.predicates.cyclonedx import claimed_manifest
from assay.targets.environment import open_environment
from assay.targets.interface import Facts, Options, Reference
from assay.targets.local import open_directory, open_file
from collect.bom.samples import BOM, CARD, DATA, MODEL, NOW, VARIANTS

README = """---
license: apache-2.0
base_model: org/base
datasets: [conll2003]
language: en
pipeline_tag: token-classification
---
# A tagger
"""


def model_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "README.md").write_text(README)
    (folder / "config.json").write_text('{"architectures": ["BertForTokenClassification"], "model_type": "bert"}')
    save_file(
        {"encoder.weight": np.zeros((4, 3), np.float32), "encoder.bias": np.zeros(4, np.float16)},
        folder / "model.safetensors",
    )
    (folder / "requirements.txt").write_text("torch==2.3.0\n")
    (folder / "train.csv").write_text("text,label\na,1\nb,2\n")
    return folder


def bom_of(path: Path) -> Bom:
    opener = open_directory if path.is_dir() else open_file
    with opener(Reference("dir" if path.is_dir() else "file", str(path)), Options()) as target:
        return collect(target, target.manifest(), now=NOW)


def test_a_model_end_to_end(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tagger")
    bom = bom_of(folder)
    assert bom.kind == "model"
    assert [file.path for file in bom.models] == ["model.safetensors"]
    assert bom.models[0].parameters == 16
    assert [(file.path, file.rows) for file in bom.data] == [("train.csv", 2)]
    assert [(package.name, package.version) for package in bom.packages] == [("torch", "2.3.0")]
    document = cyclonedx.document(bom)
    data = cyclonedx.render(bom)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None
    main = document["metadata"]["component"]
    assert main["licenses"][0]["license"]["id"] == "Apache-2.0"
    assert main["modelCard"]["modelParameters"]["task"] == "token-classification"
    assert main["pedigree"]["ancestors"][0]["purl"] == "pkg:huggingface/org/base"
    assert claimed_manifest(json.loads(data)).contents() == bom.manifest.contents()
    assert str(tmp_path).encode() not in data + spdx.render(bom) + table.render(bom).encode()


def test_one_changed_tensor_is_named(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tagger")
    old = cyclonedx.document(bom_of(folder))
    save_file({"encoder.weight": np.zeros((4, 4), np.float32)}, folder / "model.safetensors")
    (folder / "requirements.txt").write_text("torch==2.4.0\n")
    lines = describe(difference(old, cyclonedx.document(bom_of(folder))))
    assert "file modified: model.safetensors" in lines
    assert "package changed: torch 2.3.0 to 2.4.0" in lines
    assert "tensor changed: encoder.weight in model.safetensors, f32[4, 3] to f32[4, 4]" in lines
    assert "tensor removed: encoder.bias in model.safetensors, f16[4]" in lines


def test_one_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"a": np.zeros(3, np.float32)}, path)
    bom = bom_of(path)
    assert bom.kind == "model"
    back = claimed_manifest(cyclonedx.document(bom))
    assert back.single
    assert back.contents() == bom.manifest.sha256


def test_code_with_a_model_inside(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "project")
    (folder / "README.md").write_text("# Code\n")
    (folder / "config.json").unlink()
    (folder / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["torch>=2"]\n')
    bom = bom_of(folder)
    assert bom.kind == "code"
    document = cyclonedx.document(bom)
    assert document["metadata"]["component"]["type"] == "library"
    kinds = [part["type"] for part in document["components"]]
    assert (kinds.count("machine-learning-model"), kinds.count("library"), kinds.count("data")) == (1, 1, 1)


def test_a_data_set(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"x": 1}\n{"x": 2}\n')
    bom = bom_of(folder)
    assert bom.kind == "dataset"
    main = cyclonedx.document(bom)["metadata"]["component"]
    assert main["type"] == "data"
    assert main["data"][0]["contents"]["properties"] == [{"name": "assay:data:rows", "value": "2"}]


def test_an_environment() -> None:
    with open_environment(Reference("env", ""), Options(paths=("msgspec-*/",))) as target:
        bom = collect(target, target.manifest(), now=NOW)
    assert bom.kind == "environment"
    document = cyclonedx.document(bom)
    assert document["metadata"]["component"]["type"] == "platform"
    msgspec = next(part for part in document["components"] if part["name"] == "msgspec")
    assert msgspec["purl"].startswith("pkg:pypi/msgspec@")
    assert msgspec["hashes"][0]["alg"] == "SHA-256"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(cyclonedx.render(bom).decode()) is None


@pytest.mark.parametrize(
    ("reference", "origin", "files", "found", "kind"),
    [
        (Reference("dir", "x"), None, {"a.py": b""}, ((), (), ()), "code"),
        (Reference("dir", "x"), None, {"m.gguf": b""}, ((MODEL,), (), ()), "model"),
        (Reference("dir", "x"), None, {"m.gguf": b"", "setup.py": b""}, ((MODEL,), (), ()), "code"),
        (Reference("dir", "x"), None, {"train.csv": b""}, ((), (), (DATA,)), "dataset"),
        (Reference("dir", "x"), None, {"m": b""}, ((MODEL,), (replace(CARD, kind="dataset"),), ()), "dataset"),
        (Reference("dir", "x"), None, {"README.md": b"", "train.csv": b""}, ((), (CARD,), (DATA,)), "model"),
        (Reference("hf", "org/m"), "https://huggingface.co/org/m", {"setup.py": b""}, ((), (), ()), "model"),
        (
            Reference("hf", "datasets/org/d"),
            "https://huggingface.co/datasets/org/d",
            {"m.bin": b""},
            ((MODEL,), (), ()),
            "dataset",
        ),
        (Reference("git", "x"), "https://huggingface.co/datasets/org/d", {"a": b""}, ((), (), ()), "dataset"),
    ],
)
def test_kinds(
    tmp_path: Path,
    reference: Reference,
    origin: str | None,
    files: dict[str, bytes],
    found: tuple[tuple[ModelFile, ...], tuple[object, ...], tuple[object, ...]],
    kind: str,
) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with open_directory(Reference("dir", str(tmp_path)), Options()) as target:
        target.reference = reference
        target.facts = Facts(origin=origin)
        assert kind_of(target, *found) == kind  # type: ignore[arg-type]


def files(*paths: tuple[str, str]) -> list[ModelFile]:
    return [ModelFile(path, form, tensors=(Tensor("a", "f32", (2,)),), parameters=2) for path, form in paths]


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ([], []),
        ([("m.bin", "pytorch-zip"), ("m.safetensors", "safetensors")], ["m.safetensors"]),
        (
            [("m-00001-of-00002.safetensors", "safetensors"), ("m-00002-of-00002.safetensors", "safetensors")],
            ["m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"],
        ),
        ([("q4.gguf", "gguf"), ("q8.gguf", "gguf")], []),
        ([("onnx/m.onnx", "onnx"), ("m.safetensors", "safetensors")], ["m.safetensors"]),
        ([("a.xyz", "strange")], ["a.xyz"]),
    ],
)
def test_which_files_are_the_model(models: list[tuple[str, str]], expected: list[str]) -> None:
    bom = replace(BOM, models=files(*models))
    assert [file.path for file in bom.main_models] == expected


def test_shards_are_added_up_and_copies_are_not() -> None:
    shards = files(("m-00001-of-00002.gguf", "gguf"), ("m-00002-of-00002.gguf", "gguf"), ("m.pt", "pytorch-zip"))
    main = cyclonedx.document(replace(BOM, models=shards))["metadata"]["component"]
    assert {"name": "assay:model:parameters", "value": "4"} in main["properties"]


@pytest.mark.parametrize("name", VARIANTS)
def test_the_table_is_plain_text_when_piped(name: str) -> None:
    text = table.render(VARIANTS[name], width=100)
    assert "\x1b" not in text
    assert all(len(line) <= 100 for line in text.splitlines())
    assert VARIANTS[name].manifest.contents().hex()[:16] in text


def test_what_the_table_says() -> None:
    text = table.render(BOM, width=200)
    for words in ("BertForTokenClassification", "MIT (README.md#license)", "numpy", "2.0.1", "int8", "a header of odd"):
        assert words in text
    assert "\x1b[" in table.render(BOM, colour=True)


def test_a_warning_names_its_file_once() -> None:
    models = (replace(MODEL, warnings=["model.safetensors: odd", "odder"]),)
    assert replace(BOM, models=models, warnings=("a: b",)).all_warnings == [
        "a: b",
        "model.safetensors: odd",
        "model.safetensors: odder",
    ]


def test_the_table_is_safe_for_a_terminal() -> None:
    odd = "\x1b[2J[bold]x[/bold]\u202e\ud800:smile:"
    model = replace(MODEL, architecture=odd, warnings=[odd])
    text = table.render(replace(BOM, name=odd, models=(model,), warnings=(odd,)), width=150)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[bold]x[/bold]" in text
    text.encode()


def test_long_lists_are_cut_with_a_count() -> None:
    many = [replace(BOM.packages[1], name=f"p{i}", purl=f"pkg:pypi/p{i}@1") for i in range(30)]
    assert "… and 10 more" in table.render(replace(BOM, packages=many))
