"""Configuration of Hugging Face repositories: JSON that names code to import, templates to render, files to read.

``auto_map``, custom pipelines and module lists make ``trust_remote_code=True`` run the repository's Python files; the
finding names the file. Source: ``transformers/dynamic_module_utils.py``, ``diffusers``, ``sentence-transformers``.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from assay.collect.scan.models.formats import nemo
from assay.collect.scan.models.formats.telling import (
    EXECUTION,
    SUPPLY,
    begins_as_json,
    leads_out,
    mentions,
    read_json,
    read_whole,
    shown,
    tell,
    tell_twice,
)
from assay.collect.scan.models.formats.templates import examine_template, looks_like_template
from assay.collect.scan.models.formats.tokenizers import tokenizer_findings
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier

MAX_CONFIG = 128 << 20
"""Bytes of one JSON document; the largest tokenizers have some 40 MB."""

_NAMES = re.compile(
    r"(?:^|/)(?:[^/]*config[^/]*|modules|model_index|tokenizer|special_tokens_map|chat_template|processor|adapter_model|"
    r"[^/]*\.index)\.json$",
    re.IGNORECASE,
)
_MARKS = (
    b"auto_map",
    b"trust_remote_code",
    b"chat_template",
    b"_target_",
    b"_component_",
    b"class_path",
    b"tool_class",
    b"auto_mapping",
    b"activation_function",
    b"custom_pipelines",
    b"custom_generate",
    b"weight_map",
    b"pre_tokenizer",
    b"model_type",
    b"architectures",
    b"_class_name",
)
_TEMPLATES = (".jinja", ".jinja2", ".j2")
_KERNELS = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal", "experts_implementation")
"""Keys under which transformers takes the name of a repository of native code (``owner/name``)."""

_SMALL = 8 << 20
_KNOWN_MODULES = frozenset({"diffusers", "transformers", "stable_diffusion", "onnxruntime", "optimum", "k_diffusion"})
_TARGETS = re.compile(
    r"^(?:os|sys|subprocess|builtins|posix|shutil|pty|socket|ctypes|importlib|runpy|pickle|urllib|code|pdb|timeit)\.|"
    r"\.(?:system|popen|exec|eval|run_path|Popen|check_output|call|import_module)$"
)
_LIBRARIES = frozenset({"torch", "transformers", "diffusers", "sentence_transformers", "peft", "timm"})
_SENTENCE = re.compile(r"(?:sentence_transformers|pylate)\.(?:[a-zA-Z]\w*\.)*[A-Z]\w*")
_MITIGATION = "read the file, pin the revision, and set trust_remote_code only then"


class HuggingFaceConfig:
    """``config.json``, ``tokenizer.json`` and the other JSON of a repository; ``.jinja`` templates."""

    name = "huggingface-config"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By name, or as JSON that has one of the keys."""
        if path.lower().endswith(_TEMPLATES):
            return True
        if not begins_as_json(head):
            return False
        json = path.lower().endswith(".json")
        return _NAMES.search(path) is not None or (json and mentions(file, size, head, tail, _MARKS, _SMALL, True))

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """What it makes a loader import, render or read."""
        data = read_whole(file, size, MAX_CONFIG, "the configuration")
        if scan.path.lower().endswith(_TEMPLATES):
            yield from examine_template(data.decode("utf-8", "replace"), scan, "template")
            return
        if posixpath.basename(scan.path) == "tokenizer.json":
            parts, findings = tokenizer_findings(data, scan)
            yield from findings
            yield from _configuration(parts, scan)
            return
        document, twice = read_json(data, "the configuration")
        yield from tell_twice(scan, twice, "the configuration")
        yield from _configuration(document, scan)


def _configuration(document: Any, scan: Scan) -> Iterator[Finding]:
    base = posixpath.basename(scan.path)
    stack = [document]
    seen = 0
    while stack:
        value = stack.pop()
        seen += 1
        if seen > 1_000_000:
            yield tell(scan, "huggingface/too-large", Tier.UNKNOWN, Severity.MEDIUM, "it was not read to its end")
            return
        if isinstance(value, dict):
            yield from _object(value, scan)
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(item for item in value if isinstance(item, (dict, list)))
    if base == "modules.json" and isinstance(document, list):
        yield from _modules(document, scan)
    if base == "model_index.json" and isinstance(document, dict):
        yield from _pipeline(document, scan)


def _object(value: Mapping[str, Any], scan: Scan) -> Iterator[Finding]:
    for key in ("auto_map", "custom_pipelines", "custom_generate", "tool_class"):
        entry = value.get(key)
        if entry:
            yield from _auto_map(key, entry, scan)
    if value.get("trust_remote_code", False) not in (False, None, 0, "", "false", "False", "0"):
        yield tell(
            scan,
            "huggingface/trust-remote-code",
            Tier.CODE,
            Severity.HIGH,
            "it sets trust_remote_code, so that loading it runs the repository's Python",
            atlas=EXECUTION,
            mitigation=_MITIGATION,
        )
    for key, text in value.items():
        if isinstance(text, str) and (key in ("chat_template", "template") or looks_like_template(text)):
            yield from examine_template(text, scan, shown(key, 60))
    yield from _named(value, scan)
    for key in nemo.KEYS:
        target = value.get(key)
        if isinstance(target, str):
            yield from _target(key, target, value, scan)
    weights = value.get("weight_map")
    if isinstance(weights, dict):
        for path in dict.fromkeys(text for text in weights.values() if isinstance(text, str)):
            if why := leads_out(path):
                yield tell(
                    scan,
                    "huggingface/path",
                    Tier.MALICIOUS,
                    Severity.HIGH,
                    f"takes weights from {shown(path)!r}, which {why}",
                    call=f"open({path!r})",
                    atlas=SUPPLY,
                )
                break


def _auto_map(key: str, entry: Any, scan: Scan) -> Iterator[Finding]:
    """Each class that is imported from the repository, or from another one (``owner/repo--module.Class``)."""
    texts: list[str] = []
    stack = [entry]
    while stack and len(texts) < 50:
        item = stack.pop()
        if isinstance(item, str):
            texts.append(item)
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    folder = posixpath.dirname(scan.path)
    for text in dict.fromkeys(reversed(texts)):
        repository, separator, reference = text.rpartition("--")
        module = reference.rpartition(".")[0] or reference
        name = posixpath.join(folder, *module.split(".")) + ".py"
        there = f", {shown(name, 120)}" + (
            "" if not scan.siblings or name in scan.siblings else " (which is not there)"
        )
        yield tell(
            scan,
            "huggingface/auto-map",
            Tier.CODE,
            Severity.HIGH if separator else Severity.MEDIUM,
            f"{key} makes transformers import {shown(reference, 100)} from "
            + (f"the repository {shown(repository, 100)!r}" if separator else f"this repository{there}"),
            call=f"import {reference}",
            atlas=EXECUTION,
            mitigation=_MITIGATION,
        )


def _target(key: str, target: str, value: Mapping[str, Any], scan: Scan) -> Iterator[Finding]:
    if _TARGETS.search(target):
        arguments = [repr(item)[:80] for name, item in value.items() if name != key][:3]
        yield tell(
            scan,
            "config/target",
            Tier.MALICIOUS,
            Severity.CRITICAL,
            f"{key} is {shown(target)}, which Hydra imports and calls (CVE-2025-23304)",
            call=f"{target}({', '.join(arguments)})",
            atlas=EXECUTION,
        )
    else:
        yield from nemo.target_findings(key, target, scan)


def _named(value: Mapping[str, Any], scan: Scan) -> Iterator[Finding]:
    """Names that a loader imports as they stand: PEFT's base class, an activation, a repository of kernels."""
    mapping = value.get("auto_mapping")
    if isinstance(mapping, dict) and isinstance(mapping.get("parent_library"), str):
        yield from _import(mapping["parent_library"], str(mapping.get("base_model_class", "")), "PEFT", scan)
    activation = value.get("activation_function")
    if isinstance(activation, str) and "." in activation:
        module, _, name = activation.rpartition(".")
        yield from _import(module, name, "sentence-transformers", scan)
    for key in _KERNELS:
        kernels = value.get(key)
        if isinstance(kernels, str) and "/" in kernels:
            yield tell(
                scan,
                "huggingface/kernels",
                Tier.CODE,
                Severity.HIGH,
                f"{key} makes transformers fetch and run native code from the repository {shown(kernels, 100)!r}",
                atlas=EXECUTION,
                mitigation=_MITIGATION,
            )


def _import(module: str, name: str, who: str, scan: Scan) -> Iterator[Finding]:
    """A class that is imported by its name and made; of the libraries themselves, or of something else."""
    root = module.split(".")[0]
    attack = root in sys.stdlib_module_names or scan.rules.judge(module, name, "call")[0] is Tier.MALICIOUS
    if attack or root not in _LIBRARIES or not name[:1].isupper():
        yield tell(
            scan,
            "huggingface/import",
            Tier.MALICIOUS if attack else Tier.UNKNOWN,
            Severity.CRITICAL if attack else Severity.MEDIUM,
            f"makes {who} import and call {shown(f'{module}.{name}', 100)}",
            call=f"{module}.{name}(…)",
            atlas=EXECUTION,
            mitigation=_MITIGATION,
        )


def _modules(document: list[Any], scan: Scan) -> Iterator[Finding]:
    """``modules.json`` of sentence-transformers: classes by their dotted names."""
    for entry in document[:1000]:
        kind = entry.get("type") if isinstance(entry, dict) else None
        if isinstance(kind, str) and not _SENTENCE.fullmatch(kind):
            yield tell(
                scan,
                "huggingface/module",
                Tier.CODE,
                Severity.MEDIUM,
                f"makes sentence-transformers import {shown(kind)}",
                call=f"import {kind}",
                atlas=EXECUTION,
                mitigation=_MITIGATION,
            )
        path = entry.get("path") if isinstance(entry, dict) else None
        if isinstance(path, str) and (why := leads_out(path)):
            yield tell(
                scan,
                "huggingface/path",
                Tier.MALICIOUS,
                Severity.HIGH,
                f"reads {shown(path)!r}, which {why}",
                atlas=SUPPLY,
            )


def _pipeline(document: Mapping[str, Any], scan: Scan) -> Iterator[Finding]:
    """``model_index.json`` of diffusers: ``[library, class]``, where a library may be a file of the repository."""
    own = document.get("_class_name")
    parts = {key: value for key, value in document.items() if isinstance(value, list) and len(value) == 2}
    if isinstance(own, list):
        parts["_class_name"] = own
    for key, (library, name) in ((key, value) for key, value in parts.items() if len(value) == 2):
        if isinstance(library, str) and (why := leads_out(library)):
            yield tell(
                scan,
                "huggingface/path",
                Tier.MALICIOUS,
                Severity.HIGH,
                f"takes {shown(key, 60)} from {shown(library)!r}, which {why}",
                atlas=SUPPLY,
            )
            continue
        if not isinstance(library, str) or library.split(".")[0] in _KNOWN_MODULES or not isinstance(name, str):
            continue
        folder = posixpath.dirname(scan.path)
        files = (f"{library}.py", f"{key}/{library}.py")
        here = next((file for file in files if posixpath.join(folder, file) in scan.siblings), None)
        yield tell(
            scan,
            "huggingface/pipeline",
            Tier.CODE if here else Tier.UNKNOWN,
            Severity.MEDIUM,
            f"{shown(key, 60)} is {shown(library, 80)}.{shown(name, 80)}, "
            + (f"imported from {shown(here, 100)}" if here else "which is no class of diffusers or transformers"),
            atlas=EXECUTION,
            mitigation=_MITIGATION,
        )
