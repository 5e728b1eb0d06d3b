"""Cards, configurations and licence files beside the weights, as the hub's documentation has them, and hostile ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assay.collect.bom.cards import MAX_CARD, MAX_CONFIG, read_cards
from assay.collect.bom.cards.headers import MAX_HEADER, header_of
from assay.collect.bom.interface import Card, Licence
from assay.errors import DocumentError

from .folders import target_of

MODEL_CARD = """---
license: mit
language:
- en
- no
base_model: distilbert/distilbert-base-uncased
datasets: [imdb, glue]
tags:
- text-classification
pipeline_tag: text-classification
library_name: transformers
model-index:
- name: tiny
  results:
  - task:
      type: text-classification
      name: Text Classification
    dataset:
      name: imdb
      type: imdb
      split: test
    metrics:
    - type: accuracy
      value: 0.910
      name: Accuracy
    - type: f1
      value: 1e-1
---
# A card
---
license: gpl-3.0
"""

DATASET_CARD = """---
pretty_name: Reviews
license: [cc-by-4.0, llama2]
task_categories: [text-classification]
size_categories: 1K<n<10K
language: de
source_datasets: original
dataset_info:
  features:
  - name: text
    dtype: string
---
"""


def cards(tmp_path: Path, **files: str | bytes) -> list[Card]:
    named = {
        name.replace("__", "."): data if isinstance(data, bytes) else data.encode() for name, data in files.items()
    }
    with target_of(tmp_path, named) as target:
        return read_cards(target)


def card(tmp_path: Path, name: str, data: Any) -> Card:
    text = data if isinstance(data, str | bytes) else json.dumps(data)
    (found,) = cards(tmp_path, **{name: text})
    return found


def test_a_model_card(tmp_path: Path) -> None:
    found = card(tmp_path, "README.md", MODEL_CARD)
    assert found.kind == "model"
    assert found.warnings == ()
    assert found.licences == (Licence("MIT", True, "README.md#license"),)
    assert found.languages == ("en", "no")
    assert found.base_models == ("distilbert/distilbert-base-uncased",)
    assert found.datasets == ("imdb", "glue")
    assert found.tags == ("text-classification",)
    assert found.task == "text-classification"
    assert found.library == "transformers"
    place = {"dataset": "imdb", "task": "Text Classification"}
    assert list(found.metrics) == [
        {"type": "accuracy", "name": "Accuracy", "value": "0.910", **place},
        {"type": "f1", "value": "1e-1", **place},
    ]


def test_a_dataset_card(tmp_path: Path) -> None:
    found = card(tmp_path, "README.md", DATASET_CARD)
    assert found.kind == "dataset"
    assert found.title == "Reviews"
    assert found.task == "text-classification"
    assert [licence.expression for licence in found.licences] == ["CC-BY-4.0", "llama2"]
    assert [licence.spdx for licence in found.licences] == [True, False]
    assert found.datasets == ("original",)


def test_a_licence_with_a_name_of_its_own(tmp_path: Path) -> None:
    found = card(tmp_path, "README.md", "---\nlicense: other\nlicense_name: llama3\nlicense_link: https://x\n---\n")
    assert found.licences == (Licence("llama3", False, "README.md#license_name"),)
    assert found.metadata["license_link"] == "https://x"


def test_values_of_the_wrong_type_are_warnings(tmp_path: Path) -> None:
    text = """---
license: {a: b}
language: [[en]]
pipeline_tag: [a]
model-index: 5
datasets:
metrics: [accuracy, {a: b}]
---
"""
    found = card(tmp_path, "README.md", text)
    assert (found.licences, found.languages, found.task, found.datasets) == ((), (), None, ())
    assert found.metrics == [{"type": "accuracy"}]
    assert set(found.warnings) == {
        "README.md: license is not a single value",
        "README.md: an entry of language is not a single value",
        "README.md: pipeline_tag is not a single value",
        "README.md: model-index is not a list of maps",
        "README.md: an entry of metrics is not a single value",
    }


def test_only_the_first_fence_is_a_header() -> None:
    assert header_of("# no header\n---\nlicense: mit\n---\n") is None
    assert header_of("---\n---\n") is None
    assert header_of("\ufeff---\r\nlicense: mit\r\n---\r\n") == {"license": "mit"}
    assert header_of("---\nlicense: mit\n---") == {"license": "mit"}
    assert header_of("---\nlicense: mit\n") is None


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("a: &x [1]\nb: *x", "aliases"),
        ("a: 1\na: 2", "'a' twice"),
        ("a: {b: 1, b: 2}", "'b' twice"),
        ("- a", "not a YAML map"),
        ("[" * 100_000, "nested too deeply"),
        ("a: [" + "1, " * 250_000 + "]", "too many values"),
        ("a: [", "not YAML"),
        ("a: b: c", "not YAML"),
        ("? [a]\n: b", "not a plain value"),
        ("a: \x00", "not YAML"),
        ("a: " + "x" * (MAX_HEADER + 1), "longer than"),
    ],
)
def test_hostile_headers_are_refused(tmp_path: Path, header: str, complaint: str) -> None:
    with pytest.raises(DocumentError, match=complaint):
        header_of(f"---\n{header}\n---\n")
    assert any(complaint in warning for warning in card(tmp_path, "README.md", f"---\n{header}\n---\n").warnings)


def test_tags_mean_nothing() -> None:
    assert header_of("---\na: !!python/object/apply:os.system [id]\nb: !!int x\n---\n") == {"a": ["id"], "b": "x"}


def test_a_long_card_is_read_to_its_header(tmp_path: Path) -> None:
    assert card(tmp_path, "README.md", MODEL_CARD + "x" * (MAX_CARD + 1)).task == "text-classification"


def test_configurations(tmp_path: Path) -> None:
    found = card(
        tmp_path,
        "config.json",
        {
            "architectures": ["BertForTokenClassification"],
            "model_type": "bert",
            "torch_dtype": "float16",
            "hidden_size": 128,
            "transformers_version": "5.0",
            "quantization_config": {"quant_method": "gptq", "bits": 4},
        },
    )
    assert found.architecture == "BertForTokenClassification"
    assert found.quantisation == "gptq 4-bit"
    assert found.library == "transformers"
    assert found.metadata == {
        "model_type": "bert",
        "transformers_version": "5.0",
        "torch_dtype": "float16",
        "hidden_size": "128",
    }


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "bitsandbytes nf4"),
        ({"load_in_8bit": True}, "8-bit"),
        ({"bits": True}, "(stated without a method)"),
        ({}, None),
    ],
)
def test_quantisation(tmp_path: Path, stated: dict[str, Any], expected: str | None) -> None:
    assert card(tmp_path, "config.json", {"model_type": "x", "quantization_config": stated}).quantisation == expected


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"architectures": "Bert", "model_type": 5}, "architectures is not a list"),
        ({"architectures": [1]}, "not a list of strings"),
        ({"model_type": ["a"]}, "model_type is not a string"),
        ({"model_type": "x" * 400}, "longer than 300"),
        ({"model_type": "a", "hidden_size": True}, "hidden_size is not a number"),
        ({"model_type": "a", "quantization_config": 1}, "quantization_config is not an object"),
        (b'{"model_type": "a", "model_type": "b"}', "'model_type' is there twice"),
        (b"[]", "not a JSON object"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"model_type": "a"}' + b" " * MAX_CONFIG, "more than the"),
    ],
)
def test_broken_configurations_are_warnings(tmp_path: Path, data: Any, complaint: str) -> None:
    assert any(complaint in warning for warning in card(tmp_path, "config.json", data).warnings)


def test_other_configurations_are_no_cards(tmp_path: Path) -> None:
    assert cards(tmp_path, config__json='{"server": "x"}', README__md="# Nothing", other__json="{}") == []


def test_adapters_and_tokenizers(tmp_path: Path) -> None:
    found = cards(
        tmp_path,
        adapter_config__json='{"base_model_name_or_path": "org/base", "peft_type": "LORA", "r": 8}',
        tokenizer_config__json='{"tokenizer_class": "BertTokenizer", "model_max_length": 512}',
        tokenizer__json='{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}',
    )
    adapter, whole, configuration = found
    assert adapter.base_models == ("org/base",)
    assert (adapter.library, adapter.metadata) == ("peft", {"peft_type": "LORA", "r": "8"})
    assert whole.metadata == {"tokenizer_model": "BPE", "vocabulary_size": "2"}
    assert configuration.metadata == {"tokenizer_class": "BertTokenizer", "model_max_length": "512"}
    assert not any(card.warnings for card in found)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ('{"model": {"type": "Unigram", "vocab": [["a", 0.5], ["b", -1]]}}', ""),
        ('{"model": {"type": "BPE"}}', "no vocabulary"),
        ("{}", "no model"),
        ('{"model": {"vocab": {"a": "b"}}}', "not a tokenizer"),
        ('{"model": {"vocab": 5}}', "not a tokenizer"),
        ("[]", "not a tokenizer"),
        ('{"model": {"vocab": ' + "[" * 100_000, "nested too deeply|not a tokenizer"),
        ('{"model": {"vocab": [' + "1," * 3_000_001 + "1]}}", "too large"),
    ],
)
def test_tokenizers_of_every_kind(tmp_path: Path, data: str, complaint: str) -> None:
    found = card(tmp_path, "tokenizer.json", data)
    if complaint:
        assert any(part in warning for warning in found.warnings for part in complaint.split("|")), found.warnings
    else:
        assert (found.warnings, found.metadata["vocabulary_size"]) == ((), "2")


def test_licence_files_of_the_outermost_folder(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "LICENSE").read_text()
    files = {
        "LICENSE": text,
        "COPYING.txt": "my own terms",
        "vendored/LICENSE": text,
        "license.py": text,
        "notes.md": "",
    }
    with target_of(tmp_path, {name: data.encode() for name, data in files.items()}) as target:
        found = read_cards(target)
    assert [card.licences for card in found] == [
        (Licence("COPYING.txt", False, "COPYING.txt"),),
        (Licence("Apache-2.0", True, "LICENSE"),),
    ]
