"""Reads the YAML header of a model or data set card.

All scalars stay the text that was written (``language: no`` is Norwegian and not false; 0.910 stays 0.910),
tags mean nothing, and aliases, which can blow up a small header to any size, are refused like duplicate
keys. Source: https://github.com/huggingface/hub-docs/blob/main/modelcard.md and datasetcard.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from assay.collect.bom.interface import Card, Licence
from assay.collect.bom.licences import parse_licence
from assay.collect.headers.reading import clean, short
from assay.errors import DocumentError

MAX_HEADER = 1024 * 1024
"""Characters; data set cards list every column of every configuration there."""

MAX_EVENTS = 200_000
"""Scalars, lists and maps in a header."""

MAX_DEPTH = 32
"""Lists and maps within each other; the deepest published header has 9."""

MAX_ITEMS = 500
"""Entries of a list that are kept."""

MAX_TEXT = 300
"""Characters of one value."""

_FENCE = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?)(?:^|\n)---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)

_DATASET_KEYS = (
    "dataset_info", "task_categories", "size_categories", "annotations_creators", "language_creators", "task_ids",
    "source_datasets", "configs", "pretty_name", "viewer",
)  # fmt: skip
_MODEL_KEYS = ("pipeline_tag", "base_model", "library_name", "model-index", "model_name", "metrics", "datasets")


def header_of(text: str) -> dict[str, Any] | None:
    """The header's values, all scalars as strings; None when the file has no header.

    Raises `DocumentError` when it is no YAML map, is too large or too deep, or has an alias or a key twice.
    """
    match = _FENCE.match(text)
    if not match:
        return None
    if len(match[1]) > MAX_HEADER:
        raise DocumentError(f"the header is longer than {MAX_HEADER} characters")
    header = _parsed(match[1])
    if header in ("", None):
        return None
    if not isinstance(header, dict):
        raise DocumentError("the header is not a YAML map")
    return header


def _parsed(text: str) -> Any:
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    depth = 0
    try:
        # The events come first: composing nodes recurses, and would resolve aliases.
        for count, event in enumerate(yaml.parse(text, Loader=loader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent):
                raise DocumentError("the header uses YAML aliases")
            if count > MAX_EVENTS or depth > MAX_DEPTH:
                raise DocumentError("the header has too many values or is nested too deeply")
        return _built(yaml.compose(text, Loader=loader))
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error)
        raise DocumentError(f"the header is not YAML: {clean(str(problem))[:200]}") from None
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"the header is not YAML: {clean(str(error))[:200]}") from None


def _built(node: Any) -> Any:
    import yaml

    if node is None:
        return None
    if isinstance(node, yaml.ScalarNode):
        return clean(node.value)
    if isinstance(node, yaml.SequenceNode):
        return [_built(item) for item in node.value]
    result: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise DocumentError("a key in the header is not a plain value")
        if key.value in result:
            raise DocumentError(f"the header has the key {clean(key.value)[:100]!r} twice")
        result[clean(key.value)] = _built(value)
    return result


def card_of_header(name: str, header: Mapping[str, Any]) -> Card:
    """The card that a header makes; ``name`` is the file's."""
    reader = _Reader(name, header)
    kind = "dataset" if _is_dataset(header) else "model"
    facts = [(key, reader.text(key)) for key in ("pretty_name", "model_name", "license_link", "version", "gated")]
    results = reader.results()
    metrics = results or [{"type": metric} for metric in reader.texts("metrics")]
    title = reader.text("model_name") or reader.text("pretty_name")
    tasks = reader.texts("task_categories")
    return Card(
        name,
        kind,
        title=title,
        task=reader.text("pipeline_tag") or (tasks[0] if tasks else None),
        base_models=reader.texts("base_model"),
        datasets=reader.texts("datasets" if kind == "model" else "source_datasets"),
        languages=reader.texts("language") or reader.texts("languages"),
        tags=reader.texts("tags"),
        licences=reader.licences(),
        metrics=metrics,
        library=reader.text("library_name"),
        metadata=short((key, value) for key, value in facts if value),
        warnings=tuple(dict.fromkeys(reader.warnings)),
    )


def _is_dataset(header: Mapping[str, Any]) -> bool:
    return sum(key in header for key in _DATASET_KEYS) > sum(key in header for key in _MODEL_KEYS)


class _Reader:
    """Typed access to a header; what has another type becomes a warning."""

    def __init__(self, name: str, header: Mapping[str, Any]) -> None:
        self._name = name
        self._header = header
        self.warnings: list[str] = []

    def _warn(self, what: str) -> None:
        if len(self.warnings) < 50:
            self.warnings.append(f"{self._name}: {what}")

    def text(self, key: str) -> str | None:
        """A single value."""
        return self._text(self._header.get(key), key)

    def texts(self, key: str) -> tuple[str, ...]:
        """One value or a list of them."""
        return tuple(self._texts(self._header.get(key), key))

    def _text(self, value: object, key: str) -> str | None:
        if value is None or value in ("", "null", "~"):
            return None
        if not isinstance(value, str):
            self._warn(f"{key} is not a single value")
            return None
        if len(value) > MAX_TEXT:
            self._warn(f"{key} is longer than {MAX_TEXT} characters")
            return None
        return value

    def _texts(self, value: object, key: str) -> Iterable[str]:
        values = value if isinstance(value, list) else [value]
        if len(values) > MAX_ITEMS:
            self._warn(f"{key} has {len(values)} entries, of which {MAX_ITEMS} are kept")
        found = (
            self._text(one, f"an entry of {key}" if isinstance(value, list) else key) for one in values[:MAX_ITEMS]
        )
        return [text for text in found if text is not None]

    def licences(self) -> tuple[Licence, ...]:
        """``license``; for ``other`` the ``license_name`` that stands beside it."""
        source = f"{self._name}#license"
        stated = self.texts("license") or self.texts("licence")
        named = self.text("license_name")
        if named and (not stated or stated == ("other",)):
            return (parse_licence(named, f"{self._name}#license_name"),)
        return tuple(parse_licence(text, source) for text in stated)

    def results(self) -> list[Mapping[str, str]]:
        """The metrics of ``model-index``: type, value, data set and task, as written."""
        found: list[Mapping[str, str]] = []
        for model in self._maps(self._header.get("model-index"), "model-index"):
            for result in self._maps(model.get("results"), "model-index results"):
                context = {
                    "task": self._named(result.get("task"), "task"),
                    "dataset": self._named(result.get("dataset"), "dataset"),
                }
                for metric in self._maps(result.get("metrics"), "model-index metrics"):
                    if len(found) >= MAX_ITEMS:
                        self._warn(f"model-index has more than {MAX_ITEMS} metrics")
                        return found
                    measured = {key: self._text(metric.get(key), f"metric {key}") for key in ("type", "name", "value")}
                    pairs = {**measured, **context}
                    if pairs["type"] or pairs["name"]:
                        pairs["type"] = pairs["type"] or pairs["name"]
                        found.append({key: value for key, value in pairs.items() if value})
        return found

    def _maps(self, value: object, key: str) -> list[Mapping[str, Any]]:
        if value is None or value == "":
            return []
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            self._warn(f"{key} is not a list of maps")
            return []
        return value

    def _named(self, value: object, key: str) -> str | None:
        """The name or type of a task or data set."""
        if not isinstance(value, dict):
            if value not in (None, ""):
                self._warn(f"model-index {key} is not a map")
            return None
        return self._text(value.get("name"), key) or self._text(value.get("type"), key)
