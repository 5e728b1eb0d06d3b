"""Keras's configurations: JSON that names classes and functions, and may carry code (Lambda layers).

The configuration is read as data, wherever it lies: in a ``.keras`` archive, an HDF5 attribute, a SavedModel, a plain
file. It is never turned into layers; bytecode in it is searched for names and never unmarshalled.
Source: Keras 3, ``keras/src/saving/serialization_lib.py``; CVE-2025-1550, -8747, -9905, -9906, -49655, -12058.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from assay.collect.scan.models.formats.bytecode import names_in
from assay.collect.scan.models.formats.keras_names import BUILDERS, GADGETS, MARKS, WRAPPERS, classes
from assay.collect.scan.models.formats.telling import (
    EXECUTION,
    SENSITIVE,
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
from assay.collect.scan.models.interface import ALLOWED_BY_CALLER, Finding, Scan, Severity, Tier

MAX_CONFIG = 64 << 20
"""Bytes of a configuration; the largest published ones have some 10 MB."""

_KEYS = (b"class_name",)
_MAX_OBJECTS = 500_000
_FUNCTION_KINDS = ("function", "builtin_function_or_method", "type")
_LAMBDA_KINDS = frozenset(
    {"Lambda", "TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "TensorFlowOpLayer"}
)
_SPECS = re.compile(r"(?:tensorflow|keras)(?:\.\w+)*\.\w*Spec")
_PLAIN = frozenset(("dict", "list", "tuple", "int", "float", "str", "bool", "slice"))
_SHADOWED = frozenset(("test",))
"""Modules of the standard library that people have files of the same name as."""

_SYMBOLS = re.compile(
    r"(?:^|\.)(?:py_function|numpy_function|py_func|read_file|write_file|matching_files|load_library|load_op_library|"
    r"load_file_system_library|system|popen|gfile|eval|exec|data_service|RemoteCall|save|restore|print)(?:\.|$)"
)
_PATHS = (
    "vocabulary", "vocabulary_file", "vocab_file", "input_vocabulary", "idf_weights", "merges", "proto", "filepath",
    "file_path", "filename", "origin", "url", "uri", "directory", "cache_dir", "weights",
)  # fmt: skip
"""Keys of files and addresses that are read or written when a layer is built."""

_MITIGATION = "load it with safe_mode=True of a current Keras, or ask for the model without code"


class KerasConfig:
    """A Keras configuration as JSON: ``config.json`` of an archive, ``model.to_json()``."""

    name = "keras-config"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """JSON that names a class: ``class_name`` at either end, or anywhere in a file called as Keras calls it."""
        named = path.lower().endswith(".json")
        return begins_as_json(head) and mentions(file, size, head, tail, _KEYS, MAX_CONFIG, named)

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """What the configuration would import, call and read."""
        document, twice = read_json(read_whole(file, size, MAX_CONFIG, "the configuration"), "the configuration")
        yield from tell_twice(scan, twice, "the configuration")
        yield from examine_config(document, scan)


def examine_config(document: Any, scan: Scan, *, legacy: bool = False) -> Iterator[Finding]:
    """What a configuration makes Keras do. ``legacy``: from HDF5, where Keras ignores ``safe_mode`` (CVE-2025-9905)."""
    stack: list[tuple[Any, str]] = [(document, "")]
    seen = 0
    told: set[tuple[str, str]] = set()
    while stack:
        value, layer = stack.pop()
        seen += 1
        if seen > _MAX_OBJECTS:
            yield tell(
                scan,
                "keras/too-large",
                Tier.UNKNOWN,
                Severity.MEDIUM,
                f"the configuration has more than {_MAX_OBJECTS:,} parts and was not read to its end",
            )
            return
        if isinstance(value, list):
            stack.extend((item, layer) for item in value if isinstance(item, (dict, list)))
        elif isinstance(value, dict):
            named = value.get("class_name")
            inner = value.get("config")
            if isinstance(named, str):
                own = inner.get("name") if isinstance(inner, dict) else None
                layer = own if isinstance(own, str) else layer
                for finding in _object(value, named, scan, layer, legacy):
                    if (finding.rule, finding.message) not in told and len(told) < 200:
                        told.add((finding.rule, finding.message))
                        yield finding
            elif "module" in value and ("registered_name" in value or "function_name" in value):
                yield from _import(str(value.get("module")), str(value.get("registered_name")), value, scan, layer)
            yield from _paths(value, scan, layer)
            for key, item in value.items():
                if key == "function" and isinstance(item, dict) and "arguments" in value:
                    item = {**item, "arguments": value["arguments"]}  # so that the finding can name the whole call
                if isinstance(item, (dict, list)):
                    stack.append((item, layer))


def _object(value: Mapping[str, Any], named: str, scan: Scan, layer: str, legacy: bool) -> Iterator[Finding]:
    """One serialised object."""
    module, registered, inner = value.get("module"), value.get("registered_name"), value.get("config")
    if named == "__lambda__":
        code = inner.get("code", inner.get("value")) if isinstance(inner, dict) else inner
        yield from _code(code, scan, layer, legacy)
        return
    if named == "Lambda" and isinstance(inner, dict):
        yield from _lambda(inner, scan, layer, legacy)
    elif named in _LAMBDA_KINDS and isinstance(inner, dict):
        yield from _symbol(inner, scan, layer)
    if named in WRAPPERS and isinstance(inner, dict):
        yield from _wrapper(named, inner, scan, layer)
        return
    if named == "__typespec__":
        # Keras calls what ``spec_name`` names, in whatever module.
        spec = value.get("spec_name")
        if isinstance(spec, str) and not (isinstance(module, str) and _SPECS.fullmatch(f"{module}.{spec}")):
            yield from _import(module if isinstance(module, str) else "", spec, value, scan, layer)
        return
    if named in _FUNCTION_KINDS:
        function = inner if isinstance(inner, str) else str(registered)
        yield from _import(module if isinstance(module, str) else "", function, value, scan, layer)
    elif isinstance(module, str) and module != "builtins":
        yield from _import(module, named, value, scan, layer)
    elif named in GADGETS:
        yield from _import("builtins" if module else "", named, value, scan, layer)
    elif named not in classes() and named not in MARKS:
        yield from _custom(scan, registered if isinstance(registered, str) else named, layer)


def _import(module: str, name: str, value: Mapping[str, Any], scan: Scan, layer: str) -> Iterator[Finding]:
    """A class or function named by module, which Keras imports."""
    root, _, rest = module.partition(".")
    last = name.rsplit(".", 1)[-1]
    if root in ("keras", "tf_keras", "keras_core") or module.startswith(
        ("tensorflow.keras", "tensorflow.python.keras")
    ):
        if last in GADGETS:
            yield _malicious(scan, module, name, value, layer)
            return
        parts = set(rest.split("."))
        if root == "tensorflow":
            parts |= set(module.split("."))
        if parts & set(BUILDERS) or last in classes() or not rest:
            return
        yield tell(
            scan,
            "keras/unlisted",
            Tier.UNKNOWN,
            Severity.MEDIUM,
            f"names {shown(module, 80)}.{shown(name, 60)}, which is no layer of Keras's",
            atlas=SUPPLY,
            within=layer or None,
        )
    elif root == "builtins":
        # Keras says so of every function that is not its own, also of those that a user wrote.
        if last in GADGETS:
            yield _malicious(scan, module, name, value, layer)
        elif last not in _PLAIN:
            yield from _custom(scan, name, layer)
    elif (
        last in GADGETS
        or (root in sys.stdlib_module_names and root not in _SHADOWED)
        or scan.rules.judge(module, name, "call")[0] is Tier.MALICIOUS
        or (root == "tensorflow" and _SYMBOLS.search(f"{module}.{name}"))
    ):
        yield _malicious(scan, module, name, value, layer)
    else:
        yield from _custom(scan, f"{module}.{name}" if module else name, layer)


def _malicious(scan: Scan, module: str, name: str, value: Mapping[str, Any], layer: str) -> Finding:
    full = f"{module}.{name}" if module else name
    arguments = ", ".join(shown(repr(text), 80) for text in _texts(value, {module, name, "function", layer}))
    return tell(
        scan,
        "keras/unsafe-object",
        Tier.MALICIOUS,
        Severity.CRITICAL,
        f"the configuration names {shown(full, 120)}, which Keras would import and call (CVE-2025-1550, CVE-2025-8747)",
        call=f"{full}({arguments})",
        atlas=EXECUTION,
        mitigation="do not load this model",
        within=layer or None,
    )


def _custom(scan: Scan, name: str, layer: str) -> Iterator[Finding]:
    """A class of the user's own, unless whoever loads the file has allowed it (``package>Class`` as package.Class)."""
    module, _, last = name.replace(">", ".").rpartition(".")
    if scan.rules.judge(module, last, "call") == (Tier.SAFE, ALLOWED_BY_CALLER):
        return
    yield tell(
        scan,
        "keras/custom-object",
        Tier.UNKNOWN,
        Severity.MEDIUM,
        f"needs {shown(name, 120)!r}, which is not part of Keras: what it does depends on code that is not in the file",
        atlas=SUPPLY,
        mitigation="find out where that class comes from before you register it",
        within=layer or None,
    )


def _texts(value: Any, without: set[str]) -> list[str]:
    """A few texts inside a value: the arguments, for the reader."""
    found: list[str] = []
    stack = [value]
    for _ in range(500):
        if not stack or len(found) >= 4:
            break
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(
                part for key, part in item.items() if key not in ("class_name", "module", "registered_name", "name")
            )
        elif isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, str) and item not in without:
            found.append(item)
    return found


def _lambda(inner: Mapping[str, Any], scan: Scan, layer: str, legacy: bool) -> Iterator[Finding]:
    """A Lambda layer: its function is bytecode, or a name."""
    found = False
    for key in ("function", "output_shape", "mask"):
        function = inner.get(key)
        if isinstance(function, list) and function and isinstance(function[0], str):
            # ``output_shape`` is a list of numbers where it is no code.
            found = True
            yield from _code(function[0], scan, layer, legacy)
        elif isinstance(function, dict):
            found = True  # the walk comes to it
        elif (isinstance(function, str) and key == "function") or inner.get(f"{key}_type") == "function":
            found = True
            module = inner.get("module") if isinstance(inner.get("module"), str) else ""
            yield from _import(str(module), str(function), inner, scan, layer)
    if not found:
        yield tell(
            scan,
            "keras/lambda",
            Tier.CODE,
            Severity.HIGH,
            "Lambda layer whose function was not found",
            atlas=EXECUTION,
            mitigation=_MITIGATION,
            within=layer or None,
        )


def _symbol(inner: Mapping[str, Any], scan: Scan, layer: str) -> Iterator[Finding]:
    """A layer that calls one of TensorFlow's functions by name."""
    name = next((inner[key] for key in ("function", "cls_symbol", "cls_ref") if isinstance(inner.get(key), str)), None)
    text = name or str(inner.get("node_def", ""))[:2000]
    if match := _SYMBOLS.search(text):
        yield tell(
            scan,
            "keras/unsafe-object",
            Tier.MALICIOUS if name else Tier.UNKNOWN,
            Severity.CRITICAL,
            f"calls TensorFlow's {shown(match[0].strip('.'), 60)} when the model runs",
            call=f"tf.{text}(…)" if name else None,
            atlas=EXECUTION,
            within=layer or None,
        )


def _wrapper(named: str, inner: Mapping[str, Any], scan: Scan, layer: str) -> Iterator[Finding]:
    """A layer that carries another framework's module (CVE-2025-49655)."""
    yield tell(
        scan,
        "keras/foreign-module",
        Tier.CODE,
        Severity.HIGH,
        f"{named} loads another framework's module from the configuration"
        + (" by unpickling it (CVE-2025-49655)" if named == "TorchModuleWrapper" else ""),
        atlas=EXECUTION,
        mitigation=_MITIGATION,
        within=layer or None,
    )
    carried = inner.get("module")
    if isinstance(carried, dict):  # bytes, as Keras writes them
        carried = carried["config"].get("value") if isinstance(carried.get("config"), dict) else None
    if isinstance(carried, str):
        data = _base64(carried)
        if data is not None and len(data) > 16:
            yield from scan.inner(io.BytesIO(data), f"{layer or named}.module", len(data))
    path = inner.get("filepath")
    if isinstance(path, str) and (why := leads_out(path)):
        yield tell(
            scan,
            "keras/path",
            Tier.MALICIOUS,
            Severity.HIGH,
            f"loads {shown(path)!r}, which {why}",
            within=layer or None,
        )


def _code(code: Any, scan: Scan, layer: str, legacy: bool) -> Iterator[Finding]:
    """Bytecode of a lambda, in base64 (Keras 3 and 2.x) or as text (``raw_unicode_escape``, Keras 1)."""
    data = None
    if isinstance(code, dict):
        inner = code.get("config")
        code = inner.get("value") if isinstance(inner, dict) else None
    if isinstance(code, str):
        data = _base64(code)
        if data is None:
            data = code.encode("raw_unicode_escape", "replace")
    names = names_in(data) if data is not None else []
    legacy_note = "; Keras runs it from HDF5 even in safe mode (CVE-2025-9905)" if legacy else ""
    if names:
        yield tell(
            scan,
            "keras/lambda-attack",
            Tier.MALICIOUS,
            Severity.CRITICAL,
            f"Lambda layer carries bytecode that uses {', '.join(names[:8])}, as no layer needs{legacy_note}",
            call=f"lambda: {'.'.join(names[:4])}(…)",
            atlas=EXECUTION,
            mitigation="do not load this model",
            within=layer or None,
        )
    else:
        yield tell(
            scan,
            "keras/lambda",
            Tier.CODE,
            Severity.HIGH,
            (
                "Lambda layer carries Python bytecode"
                if data is not None
                else "Lambda layer carries code that is not readable"
            )
            + legacy_note,
            atlas=EXECUTION,
            mitigation=_MITIGATION,
            within=layer or None,
        )


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def _paths(value: Mapping[str, Any], scan: Scan, layer: str) -> Iterator[Finding]:
    """Files and addresses that a layer reads when it is built (CVE-2025-12058)."""
    for key in _PATHS:
        path = value.get(key)
        if not isinstance(path, str) or not path or (key == "proto" and len(path) > 500):
            continue
        why = leads_out(path)
        if why == "is a URL" or (why and SENSITIVE.search(path)) or (why or "").startswith("leads"):
            tier, severity = Tier.MALICIOUS, Severity.HIGH
        elif why:
            tier, severity = Tier.UNKNOWN, Severity.MEDIUM
        else:
            continue
        yield tell(
            scan,
            "keras/path",
            tier,
            severity,
            f"{key} is {shown(path)!r}, which {why}: Keras reads it when the model is loaded (CVE-2025-12058)",
            call=f"open({path!r})",
            atlas=SUPPLY,
            within=layer or None,
        )
