"""Configuration of Hugging Face repositories: JSON that names code to import, templates to render, files to read.

``auto_map``, custom pipelines and module lists make ``trust_remote_code=True`` run the repository's Python files; the
finding names the file. Source: ``transformers/dynamic_module_utils.py``, ``diffusers``, ``sentence-transformers``.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from assay.collect.scan.models.formats.telling import (
    DENIAL,
    EXECUTION,
    SUPPLY,
    has_any,
    leads_out,
    read_json,
    read_whole,
    shown,
    tell,
    tell_twice,
)
from assay.collect.scan.models.formats.templates import examine_template
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
    b"custom_pipelines",
    b"custom_generate",
    b"weight_map",
    b"pre_tokenizer",
    b"model_type",
    b"architectures",
    b"_class_name",
)
_SMALL = 8 << 20
_KNOWN_MODULES = frozenset({"diffusers", "transformers", "stable_diffusion", "onnxruntime", "optimum", "k_diffusion"})
_TARGETS = re.compile(
    r"^(?:os|sys|subprocess|builtins|posix|shutil|pty|socket|ctypes|importlib|runpy|pickle|urllib|code|pdb|timeit)\.|"
    r"\.(?:system|popen|exec|eval|run_path|Popen|check_output|call|import_module)$"
)
_REPEATED = re.compile(r"\((?:[^()\\]|\\.)*[+*}]\)\s*[+*{]")
_MITIGATION = "read the file, pin the revision, and set trust_remote_code only then"


class HuggingFaceConfig:
    """``config.json``, ``tokenizer.json`` and the other JSON of a repository; ``.jinja`` templates."""

    name = "huggingface-config"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By name, or as JSON that has one of the keys."""
        if path.endswith((".jinja", ".jinja2", ".j2")):
            return True
        if not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
            return False
        if _NAMES.search(path):
            return True
        if not path.lower().endswith(".json"):
            return False
        if has_any(head, _MARKS) or has_any(tail, _MARKS):
            return True
        if not len(head) < size <= _SMALL:
            return False
        file.seek(0)
        return has_any(file.read(size), _MARKS)

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """What it makes a loader import, render or read."""
        data = read_whole(file, size, MAX_CONFIG, "the configuration")
        if scan.path.endswith((".jinja", ".jinja2", ".j2")):
            yield from examine_template(data.decode("utf-8", "replace"), scan, "template")
            return
        if posixpath.basename(scan.path) == "tokenizer.json":
            yield from _tokenizer(data, scan)
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
    for key in ("auto_map", "auto_mapping", "custom_pipelines", "custom_generate"):
        entry = value.get(key)
        if entry:
            yield from _auto_map(key, entry, scan)
    if value.get("trust_remote_code") is True:
        yield tell(
            scan,
            "huggingface/trust-remote-code",
            Tier.CODE,
            Severity.HIGH,
            "it sets trust_remote_code, so that loading it runs the repository's Python",
            atlas=EXECUTION,
            mitigation=_MITIGATION,
        )
    for key in ("chat_template", "template"):
        template = value.get(key)
        if isinstance(template, str):
            yield from examine_template(template, scan, key)
        elif isinstance(template, dict):
            for name, text in template.items():
                if isinstance(text, str):
                    yield from examine_template(text, scan, f"{key}.{name}")
    target = value.get("_target_")
    if isinstance(target, str):
        yield from _target(target, value, scan)
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
            # PEFT's auto_mapping names a class of an installed library, not a file.
            stack.extend(item.values() if key != "auto_mapping" else [])
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


def _target(target: str, value: Mapping[str, Any], scan: Scan) -> Iterator[Finding]:
    if _TARGETS.search(target):
        arguments = [repr(item)[:80] for key, item in value.items() if key != "_target_"][:3]
        yield tell(
            scan,
            "config/target",
            Tier.MALICIOUS,
            Severity.CRITICAL,
            f"_target_ is {shown(target)}, which Hydra imports and calls (CVE-2025-23304)",
            call=f"{target}({', '.join(arguments)})",
            atlas=EXECUTION,
        )


def _modules(document: list[Any], scan: Scan) -> Iterator[Finding]:
    """``modules.json`` of sentence-transformers: classes by their dotted names."""
    for entry in document[:1000]:
        kind = entry.get("type") if isinstance(entry, dict) else None
        if isinstance(kind, str) and not kind.startswith(("sentence_transformers.", "pylate.")):
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


def _tokenizer(data: bytes, scan: Scan) -> Iterator[Finding]:
    """``tokenizer.json``: regular expressions that take exponential time; the vocabulary is passed over."""
    import msgspec

    class Parts(msgspec.Struct):
        pre_tokenizer: Any = None
        normalizer: Any = None
        decoder: Any = None
        post_processor: Any = None
        added_tokens: Any = None
        auto_map: Any = None
        chat_template: Any = None

    try:
        parts = msgspec.json.decode(data, type=Parts)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        from assay.errors import DocumentError

        raise DocumentError(f"the tokenizer is not JSON: {shown(error)}") from None
    for name in ("pre_tokenizer", "normalizer", "decoder"):
        for pattern in _patterns(getattr(parts, name)):
            if _REPEATED.search(pattern) and len(pattern) < 100_000:
                yield tell(
                    scan,
                    "tokenizer/regex-bomb",
                    Tier.UNKNOWN,
                    Severity.HIGH,
                    f"{name} repeats a repetition, {shown(pattern)!r}: it may take exponential time",
                    atlas=DENIAL,
                )
            elif len(pattern) > 20_000:
                yield tell(
                    scan,
                    "tokenizer/regex-bomb",
                    Tier.UNKNOWN,
                    Severity.MEDIUM,
                    f"{name} has a regular expression of {len(pattern):,} characters",
                    atlas=DENIAL,
                )
    if parts.auto_map:
        yield from _auto_map("auto_map", parts.auto_map, scan)
    if isinstance(parts.chat_template, str):
        yield from examine_template(parts.chat_template, scan, "chat_template")


def _patterns(value: Any) -> Iterator[str]:
    stack = [value]
    for _ in range(100_000):
        if not stack:
            return
        item = stack.pop()
        if isinstance(item, dict):
            pattern = item.get("Regex")
            if isinstance(pattern, str):
                yield pattern
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
