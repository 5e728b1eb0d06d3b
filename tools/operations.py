"""Writes the lists of what Keras, ONNX and TensorFlow have themselves, from the libraries' own registries.

PYTHONPATH=src PYTHON tools/operations.py [keras] [onnx] [tensorflow]

PYTHON is an interpreter that has keras, tf-keras and tensorflow-cpu, or onnx and onnxruntime. The lists go where
`assay.collect.scan.models.rules.operations` reads them; an operation that they lack is unknown to the scanner.
"""

from __future__ import annotations

import os
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from textwrap import fill
from typing import Any

FOLDER = Path(__file__).parents[1] / "src/assay/collect/scan/models/rules/data/operations"

_OUTSIDE = re.compile(
    r"(?:^|_)(?:files?|filenames?|path|ckpt|prefix|prefixes|address|urls?|uri|server|logdir|directory|dir|source|region)"
    r"(?:_|$)"
)
"""Parts of the name of an argument that is told a file, a folder or a machine."""

_STRING = 7
"""``DT_STRING`` of TensorFlow's ``types.proto``."""


def keras() -> str:
    """The classes that Keras 3 and Keras 2 make from configurations."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    found = {name for root in ("keras.src", "tf_keras.src") for name in _classes(root)}
    return _text(["keras", "tf_keras"], "Apache-2.0", {}, {"-": found})


def _classes(root: str) -> Iterator[str]:
    for module in pkgutil.walk_packages(import_module(root).__path__, f"{root}."):
        if "test" not in module.name:
            with suppress(Exception):  # a module that needs a library which is not there has no classes to list
                for name, value in vars(import_module(module.name)).items():
                    own = isinstance(value, type) and value.__module__.startswith(root) and name == value.__name__
                    if own and hasattr(value, "get_config") and hasattr(value, "from_config"):
                        yield name


def onnx() -> str:
    """The operators of every version of ONNX, and those that ONNX Runtime adds."""
    import onnx
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    found: dict[str, set[str]] = {}
    for schema in [*onnx.defs.get_all_schemas_with_history(), *runtime.get_all_operator_schema()]:
        found.setdefault(schema.domain, set()).add(schema.name)
    return _text(["onnx", "onnxruntime"], "Apache-2.0, MIT", {}, {name or "-": found[name] for name in sorted(found)})


def tensorflow() -> str:
    """The operations that TensorFlow registers when it is imported, and which of their arguments lead outside."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow  # noqa: F401  (it registers them)
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session as session

    listed = op_def_pb2.OpList()
    listed.ParseFromString(session.TF_GetBuffer(session.TF_GetAllOpList()))
    outside = {op.name: places for op in listed.op if (places := _places(op))}
    calling = {op.name for op in listed.op if any("func" in attribute.type for attribute in op.attr)}
    return _text(["tensorflow-cpu"], "Apache-2.0", outside, {"-": {op.name for op in listed.op}, "calling": calling})


def _places(op: Any) -> list[str]:
    """Arguments that are told something outside: an input's number, an attribute's name after a full stop."""
    found = []
    for i, argument in enumerate(op.input_arg):
        if argument.type == _STRING and _OUTSIDE.search(argument.name):
            if any(before.number_attr or before.type_list_attr for before in op.input_arg[:i]):
                raise ValueError(f"{op.name}: the number of its input {argument.name} is not fixed")
            found.append(str(i))
    return found + [
        f".{attribute.name}"
        for attribute in op.attr
        if attribute.type in ("string", "list(string)") and _OUTSIDE.search(attribute.name)
    ]


def _text(
    libraries: list[str], licence: str, outside: Mapping[str, list[str]], domains: Mapping[str, Iterable[str]]
) -> str:
    lines = ["assay-operations 1"]
    lines += [f"library: {', '.join(f'{name} {version(name)}' for name in libraries)}"]
    lines += [f"licence: {licence}", "derived: tools/operations.py"]
    lines += [f"outside {name} {' '.join(outside[name])}" for name in sorted(outside)]
    for domain, names in domains.items():
        lines.append(f"domain {domain}")
        lines.append(fill(" ".join(sorted(names)), 118, initial_indent="  ", subsequent_indent="  "))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write those that are named."""
    for name in sys.argv[1:] or ["keras", "onnx", "tensorflow"]:
        path = FOLDER / f"{name}.txt"
        path.write_text({"keras": keras, "onnx": onnx, "tensorflow": tensorflow}[name]())
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
