"""Reads what stands beside the weights: model and data set cards, ``config.json``, tokenizers, adapters,
licences.

Each file becomes one card that says what this file states and nothing more. YAML is read without tags,
aliases or types; JSON with limits. A value of the wrong type becomes a warning, and nothing is fetched or
executed. Source: https://huggingface.co/docs/hub/model-cards and
https://huggingface.co/docs/hub/datasets-cards
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from assay.collect.bom.cards.headers import card_of_header, header_of
from assay.collect.bom.interface import Card, Licence
from assay.collect.bom.licences import licence_of_text
from assay.collect.headers.reading import clean, short, strict_json
from assay.errors import DocumentError
from assay.targets.interface import Target

MAX_CARD = 2 * 1024 * 1024
"""Bytes of a README.md that are looked at for its header."""

MAX_CONFIG = 8 * 1024 * 1024
"""Bytes of a JSON configuration."""

MAX_TOKENIZER = 64 * 1024 * 1024
"""Bytes of a ``tokenizer.json``; the largest published ones have about 35 MB."""

MAX_LICENCE = 256 * 1024
"""Bytes of a licence file."""

MAX_CARDS = 1000
"""Cards of one target."""

_LICENCE_FILE = re.compile(
    r"(un)?licen[sc]e([-_.][a-z0-9._-]+)?|copying([-_.][a-z0-9._-]+)?|[a-z0-9.-]+[-_.]licen[sc]e(\.txt|\.md)?",
    re.IGNORECASE,
)


def read_cards(target: Target) -> list[Card]:
    """One card for each file that states something, in order of name.

    Read are ``README.md`` with a YAML header, ``config.json``, ``model_index.json``,
    ``adapter_config.json``, ``tokenizer_config.json`` and ``tokenizer.json`` in every folder, and licence
    files of the outermost folder (those further in belong to what is vendored there).
    """
    cards: list[Card] = []
    for name, size in zip(target.names, target.sizes, strict=True):
        reader = _reader_of(name)
        if reader is None or len(cards) >= MAX_CARDS:
            continue
        read, limit, whole = reader
        with target.open(name) as file:
            data = file.read(limit + 1)
        try:
            if len(data) > limit and whole:
                raise DocumentError(f"it has {size} bytes, more than the {limit} that are read")
            card = read(name, data[:limit])
        except DocumentError as error:
            card = Card(name, "model", warnings=(f"{name}: {clean(error.message)}",))
        if card is not None:
            cards.append(card)
    return cards


_Read = Callable[[str, bytes], Card | None]


def _reader_of(name: str) -> tuple[_Read, int, bool] | None:
    """How a file is read, at most how many bytes of it, and whether a longer one is refused."""
    base = name.rpartition("/")[2]
    if base in _BY_NAME:
        return _BY_NAME[base]
    if "/" not in name and _LICENCE_FILE.fullmatch(base) and not base.endswith((".py", ".json", ".html")):
        return _licence_file, MAX_LICENCE, False
    return None


def _readme(name: str, data: bytes) -> Card | None:
    header = header_of(data.decode("utf-8", "replace"))
    return None if header is None else card_of_header(name, header)


def _licence_file(name: str, data: bytes) -> Card:
    licence = licence_of_text(data.decode("utf-8", "replace"), name)
    return Card(name, "model", licences=(licence or Licence(name, False, name),))


class _Fields:
    """Typed access to a JSON object; what has another type becomes a warning."""

    def __init__(self, name: str, data: bytes) -> None:
        document, twice = strict_json(data, "it")
        if not isinstance(document, dict):
            raise DocumentError("it is not a JSON object")
        self._document: dict[str, Any] = document
        self._name = name
        self.warnings = [f"{name}: the key {key!r} is there twice" for key in twice]

    def __contains__(self, key: str) -> bool:
        return key in self._document

    def get(self, key: str, kind: type | tuple[type, ...], what: str) -> Any:
        """The member when it has the type, None when it is absent or null."""
        value = self._document.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.warnings.append(f"{self._name}: {key} is not {what}")
            return None
        return value

    def text(self, key: str) -> str | None:
        """A string of at most 300 characters."""
        value = self.get(key, str, "a string")
        if value is not None and len(value) > 300:
            self.warnings.append(f"{self._name}: {key} is longer than 300 characters")
            return None
        return clean(value) if value else None

    def numbers(self, keys: Sequence[str]) -> list[tuple[str, object]]:
        """Those of the numbers that are there."""
        found = ((key, self.get(key, (int, float), "a number")) for key in keys)
        return [(key, value) for key, value in found if value is not None]

    def strings(self, keys: Sequence[str]) -> list[tuple[str, object]]:
        """Those of the strings that are there."""
        found = ((key, self.text(key)) for key in keys)
        return [(key, value) for key, value in found if value is not None]


_SIZES = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size",
    "max_position_embeddings", "vocab_size", "num_local_experts",
)  # fmt: skip


def _config(name: str, data: bytes) -> Card | None:
    """``config.json`` of transformers, and of a diffusers component."""
    fields = _Fields(name, data)
    if not any(key in fields for key in ("architectures", "model_type", "_class_name", "quantization_config")):
        return None
    named = fields.get("architectures", list, "a list")
    architecture = None
    if named:
        if isinstance(named[0], str):
            architecture = clean(named[0])[:300]
        else:
            fields.warnings.append(f"{name}: architectures is not a list of strings")
    kind = fields.text("model_type")
    class_name = fields.text("_class_name")
    dtype = "dtype" if isinstance(fields.get("dtype", object, ""), str) else "torch_dtype"
    facts = fields.strings(("model_type", "transformers_version", "_diffusers_version", dtype))
    facts += fields.numbers(_SIZES)
    base = fields.text("_name_or_path")
    return Card(
        name,
        "model",
        architecture=architecture or kind or class_name,
        library="diffusers" if class_name else "transformers",
        quantisation=_quantisation(fields),
        metadata=short([*facts, *([("_name_or_path", base)] if base else [])]),
        warnings=tuple(fields.warnings),
    )


def _quantisation(fields: _Fields) -> str | None:
    """``gptq 4-bit``, ``bitsandbytes nf4``, ``fp8``: method and width of a ``quantization_config``."""
    stated = fields.get("quantization_config", dict, "an object")
    if not stated:
        return None
    method = stated.get("quant_method")
    parts = [clean(method)[:100]] if isinstance(method, str) else []
    bits = stated.get("bits")
    if isinstance(bits, int) and not isinstance(bits, bool) and 0 < bits <= 64:
        parts.append(f"{bits}-bit")
    elif stated.get("load_in_4bit") is True:
        kind = stated.get("bnb_4bit_quant_type")
        parts.append(clean(kind)[:40] if isinstance(kind, str) else "4-bit")
    elif stated.get("load_in_8bit") is True:
        parts.append("8-bit")
    return " ".join(parts) or "(stated without a method)"


def _adapter(name: str, data: bytes) -> Card:
    """``adapter_config.json`` of PEFT."""
    fields = _Fields(name, data)
    base = fields.text("base_model_name_or_path")
    facts = fields.strings(("peft_type", "task_type", "bias", "revision"))
    facts += fields.numbers(("r", "lora_alpha", "lora_dropout"))
    return Card(
        name,
        "model",
        base_models=(base,) if base else (),
        library="peft",
        metadata=short(facts),
        warnings=tuple(fields.warnings),
    )


def _tokenizer_config(name: str, data: bytes) -> Card:
    """``tokenizer_config.json`` of transformers."""
    fields = _Fields(name, data)
    facts = fields.strings(("tokenizer_class", "processor_class", "padding_side"))
    facts += fields.numbers(("model_max_length",))
    return Card(name, "model", metadata=short(facts), warnings=tuple(fields.warnings))


def _tokenizer(name: str, data: bytes) -> Card:
    """``tokenizer.json`` of the tokenizers library: the model's type and the size of its vocabulary."""
    from assay.collect.bom.cards.tokenizers import vocabulary

    facts, warnings = vocabulary(data)
    return Card(name, "model", metadata=short(facts), warnings=tuple(f"{name}: {text}" for text in warnings))


_BY_NAME: dict[str, tuple[_Read, int, bool]] = {
    "README.md": (_readme, MAX_CARD, False),
    "config.json": (_config, MAX_CONFIG, True),
    "model_index.json": (_config, MAX_CONFIG, True),
    "adapter_config.json": (_adapter, MAX_CONFIG, True),
    "tokenizer_config.json": (_tokenizer_config, MAX_CONFIG, True),
    "tokenizer.json": (_tokenizer, MAX_TOKENIZER, True),
}
"""By base name: reader, bytes that are read, whether a longer file is refused."""
