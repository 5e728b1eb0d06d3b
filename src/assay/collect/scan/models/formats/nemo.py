"""YAML that says what to make: ``_target_`` of hydra, as in the ``model_config.yaml`` of NeMo, and YAML's Python tags.

Whoever instantiates such a configuration calls whatever it names, with the arguments beside the name (CVE-2025-23304).
Only the events of the parser are read, so that aliases are never expanded.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.scan.models.formats.telling import EXECUTION, SUPPLY, read_whole, shown, tell
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.errors import DocumentError

MAX_YAML = 16 << 20
"""Bytes of a document that are read."""

KEYS = ("_target_", "_component_", "class_path", "target")
"""Under which hydra, torchtune, Lightning and CompVis's configurations name what they make; hydra's is first."""

_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_CLASSES = re.compile(
    r"(?:nemo\.(?:collections|core|lightning)|pytorch_lightning|lightning\.pytorch|torch\.optim|torch\.nn|torchmetrics"
    r"|megatron\.core|transformers)(?:\.[a-z_][a-z0-9_]*)*\.[A-Z]\w*"
)
"""Classes that honest configurations of NeMo name: its own and those of the libraries under it."""

_FOREIGN = sys.stdlib_module_names - {"collections"}
"""Modules that others hold under their own name; ``nemo.collections`` is NeMo's."""

_PYTHON = "tag:yaml.org,2002:python/"
_HARMLESS = frozenset(
    ("none", "bool", "str", "unicode", "bytes", "int", "long", "float", "complex", "list", "tuple", "dict")
)
_MAX_EVENTS = 5_000_000


class YamlConfig:
    """A YAML document."""

    name = "yaml"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By its name: YAML has no mark of its own."""
        return path.lower().endswith((".yaml", ".yml"))

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """What instantiating it would call."""
        if size > MAX_YAML:
            yield tell(scan, "yaml/large", Tier.UNKNOWN, Severity.LOW, f"it has {size:,} bytes and was not read")
            return
        data = read_whole(file, size, MAX_YAML, "the document")
        try:
            yield from _found(data, scan)
        except DocumentError:
            if b"target" in data or b"python/" in data:
                raise  # what other parsers make of it is not known


def _found(data: bytes, scan: Scan) -> Iterator[Finding]:
    told: set[str] = set()
    for kind, text in _events(data):
        if (kind, text) == ("", "") or f"{kind} {text}" in told or len(told) > 1000:
            continue
        told.add(f"{kind} {text}")
        if kind == "tag":
            yield tell(
                scan, "yaml/python-tag", Tier.MALICIOUS, Severity.CRITICAL,
                f"the tag !!python/{shown(text, 120)} makes PyYAML's unsafe loaders call it", atlas=EXECUTION,
                call=text, mitigation="Load YAML with yaml.safe_load only.",
            )  # fmt: skip
        else:
            yield from target_findings(kind, text, scan)


def target_findings(key: str, text: str, scan: Scan) -> Iterator[Finding]:
    """What instantiating the object that ``text`` names under one of `KEYS` would do."""
    if not _DOTTED.fullmatch(text):
        if key == "_target_":
            yield tell(
                scan, "hydra/target", Tier.UNKNOWN, Severity.MEDIUM,
                f"what _target_ names is put together: {shown(text, 100)!r}", atlas=SUPPLY,
            )  # fmt: skip
        return
    module, _, name = text.rpartition(".")
    tier, rule = scan.rules.judge(module, name, "call")
    if tier is Tier.UNKNOWN and _CLASSES.fullmatch(text) and not _FOREIGN & set(text.split(".")[1:]):
        return
    if tier.rank <= Tier.SAFE.rank or (key != "_target_" and tier is not Tier.MALICIOUS):
        return
    yield tell(
        scan, rule if tier is Tier.MALICIOUS else "hydra/target", tier,
        Severity.CRITICAL if tier is Tier.MALICIOUS else Severity.MEDIUM,
        f"instantiating this configuration calls {shown(text, 160)}", call=f"{text}(…)", atlas=EXECUTION,
        mitigation="Instantiate only configurations whose every target you have read.",
    )  # fmt: skip


def _events(data: bytes) -> Iterator[tuple[str, str]]:
    """Each target as ``(key, value)`` and each tag of Python's as ``("tag", what it names)``."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    open_: list[list[bool]] = []  # for every open collection: is a mapping, the next is a key
    key = ""
    try:
        for count, event in enumerate(yaml.parse(data, Loader=loader)):
            if count > _MAX_EVENTS:
                raise DocumentError("the document has too many parts")
            tag = getattr(event, "tag", None) or ""
            if tag.startswith(_PYTHON) and tag.removeprefix(_PYTHON) not in _HARMLESS:
                yield "tag", tag.removeprefix(_PYTHON)
            if isinstance(event, yaml.CollectionEndEvent):
                open_.pop()
                continue
            if not isinstance(event, yaml.NodeEvent):
                continue
            top = open_[-1] if open_ else [False, False]
            as_key = top[0] and top[1]
            value = event.value if isinstance(event, yaml.ScalarEvent) else None
            if top[0]:
                top[1] = not top[1]
                if not as_key and key in KEYS and (value is not None or key == "_target_"):
                    yield key, value if value is not None else "*"
            key = value or "" if as_key else ""
            if isinstance(event, yaml.CollectionStartEvent):
                mapping = isinstance(event, yaml.MappingStartEvent)
                open_.append([mapping, mapping])
    except yaml.YAMLError as error:
        raise DocumentError(f"it is not YAML: {shown(error, 120)}") from None
    except (RecursionError, ValueError, OverflowError) as error:
        raise DocumentError(f"it is not YAML: {type(error).__name__}") from None
