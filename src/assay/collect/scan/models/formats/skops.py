"""skops: a zip archive whose ``schema.json`` names every type that loading makes, and how.

Each name is judged by the same rules as a pickle's. skops asks its user to trust names that it reads from the file,
and has read one name and used another (CVE-2025-54412, CVE-2025-54413): nodes that contradict themselves are attacks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from assay.collect.scan.models.formats.telling import EXECUTION, SUPPLY, read_json, shown, tell, tell_twice
from assay.collect.scan.models.formats.zip_entries import Archive
from assay.collect.scan.models.formats.zips import is_zip, member
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.errors import DocumentError

MAX_SCHEMA = 64 << 20
"""Bytes of ``schema.json`` that are read."""

_MAX_NODES = 2_000_000
_USES = {
    "ObjectNode": "new", "TypeNode": "reference", "FunctionNode": "reference", "MethodNode": "reference",
    "ReduceNode": "call", "TreeNode": "call", "SGDNode": "call", "LossNode": "call", "PartialNode": "call",
    "OperatorFuncNode": "call", "QuantileForestNode": "call", "DatetimeNode": "call",
    "ConstructorFromReduceNode": "call",
}  # fmt: skip
_NAMED = {"TypeNode": ("__class__", "__module__"), "FunctionNode": ("function", "module_path")}
"""Nodes that named what they stand for in their content, and under which keys (skops before 0.12)."""

_VALUES = frozenset(
    (
        "DictNode", "DefaultDictNode", "OrderedDictNode", "ListNode", "SetNode", "TupleNode", "SliceNode", "JsonNode",
        "BytesNode", "BytearrayNode", "NdArrayNode", "MaskedArrayNode", "RandomStateNode", "RandomGeneratorNode",
        "DTypeNode", "SparseMatrixNode", "CachedNode", "DatasetNode", "BunchNode", "NamedTupleNode",
    )
)  # fmt: skip
_PLAIN = frozenset(("builtins.dict", "builtins.list", "builtins.set", "builtins.tuple", "builtins.slice",
    "builtins.str", "builtins.int", "builtins.float", "builtins.bool", "builtins.bytes", "builtins.bytearray",
    "builtins.complex", "builtins.NoneType", "numpy.ndarray", "numpy.dtype", "numpy.ma.MaskedArray",
    "numpy.ma.core.MaskedArray", "numpy.random._generator.Generator", "collections.OrderedDict",
    "collections.defaultdict"))  # fmt: skip
"""What skops makes itself, without looking the name up or without anything of the file's taking part."""

_KINDS = frozenset(("builtins.type", "builtins.function", "types.FunctionType", "numpy.ufunc"))
"""What the nodes of `_NAMED` said of themselves."""

_FUNCTIONS = frozenset(("FunctionNode", "TypeNode"))
"""What these name is called as soon as the model is used."""

_SCALAR = re.compile(r"numpy\.(?:(?:u?int|float|complex)\d+|bool_?|str_|bytes_|u?intc|u?longlong|c?longdouble|half)")
"""What an array of one number is turned into."""


class SkopsArchive:
    """``skops.io.dump``. `zips` calls `schema_findings`."""

    name = "skops"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """A zip archive with a schema."""
        return is_zip(head, tail, file, size) and (b"schema.json" in tail or b"schema.json" in head)

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """None: this is only the name of what `zips` scans."""
        return iter(())


def schema_findings(archive: Archive, file: BinaryIO, scan: Scan) -> Iterator[Finding]:
    """Every type that is not allowed, and every node that is not what it says; nothing for other archives."""
    for entry in archive.entries:
        if entry.name != "schema.json":
            continue
        data, length, problem = member(file, entry, scan)
        if problem or length > MAX_SCHEMA:
            raise DocumentError(problem or f"schema.json has {length:,} bytes")
        data.seek(0)
        schema, twice = read_json(data.read(length), "schema.json")
        yield from tell_twice(scan, twice, "schema.json")
        if isinstance(schema, dict) and "__loader__" in schema:
            yield from _nodes(schema, scan)
        elif scan.path.lower().endswith(".skops"):
            yield tell(scan, "skops/schema", Tier.UNKNOWN, Severity.MEDIUM, "schema.json is not one that skops writes")


def _nodes(schema: dict[str, Any], scan: Scan) -> Iterator[Finding]:
    waiting: list[Any] = [schema]
    told: set[tuple[str, str, str]] = set()
    looked = 0
    while waiting:
        part = waiting.pop()
        looked += 1
        if looked > _MAX_NODES:
            raise DocumentError(f"schema.json has more than {_MAX_NODES:,} nodes")
        if isinstance(part, dict):
            content, loader = part.get("content"), part.get("__loader__")
            if isinstance(loader, str) and loader in _NAMED and isinstance(content, dict):
                # One version reads its content, another one its own class: whichever loads it, both are judged.
                name, module = (content.get(key) for key in _NAMED[loader])
                if name is not None or module is not None:
                    yield from _node({**part, "__class__": name, "__module__": module}, scan, told)
                    if f"{part.get('__module__')}.{part.get('__class__')}" in _KINDS:
                        continue
            if "__loader__" in part or "__class__" in part:
                yield from _node(part, scan, told)
            waiting.extend(value for value in part.values() if isinstance(value, dict | list))
        elif isinstance(part, list):
            waiting.extend(value for value in part if isinstance(value, dict | list))


def _node(node: dict[str, Any], scan: Scan, told: set[tuple[str, str, str]]) -> Iterator[Finding]:
    module, name, loader = node.get("__module__"), node.get("__class__"), node.get("__loader__")
    if not isinstance(module, str) or not isinstance(name, str) or not isinstance(loader, str):
        yield tell(scan, "skops/node", Tier.UNKNOWN, Severity.MEDIUM, "a node does not say what it is made by")
        return
    if loader == "MethodNode":
        yield from _method(node, module, name, scan)
    elif loader == "OperatorFuncNode" and module != "operator":
        yield tell(
            scan, "skops/operator", Tier.MALICIOUS, Severity.CRITICAL,
            f"it is loaded as operator.{shown(name, 60)} and claims to be of {shown(module, 60)} (CVE-2025-54412)",
            call=f"operator.{name}(…)", atlas=EXECUTION,
        )  # fmt: skip
        module = "operator"
    key = (module, name, loader)
    scalar = loader == "NdArrayNode" and _SCALAR.fullmatch(f"{module}.{name}")
    if key in told or scalar or f"{module}.{name}" in _PLAIN:
        return
    told.add(key)
    if loader not in _USES and loader not in _VALUES:
        yield tell(
            scan, "skops/loader", Tier.UNKNOWN, Severity.MEDIUM,
            f"a node is loaded by {shown(loader, 60)}, which is not known",
        )  # fmt: skip
    use = _USES.get(loader, "call")
    tier, rule = scan.rules.judge(module, name, use)
    if loader in _FUNCTIONS:
        called = scan.rules.judge(module, name, "call")
        tier, rule = called if called[0] is Tier.MALICIOUS else (tier, rule)
    if tier.rank > Tier.SAFE.rank:
        what = f"{shown(module, 100)}.{shown(name, 100)}"
        yield tell(
            scan, rule, tier, Severity.CRITICAL if tier is Tier.MALICIOUS else Severity.MEDIUM,
            f"loading with these types trusted makes {what} by {shown(loader, 40)}",
            call=f"{what}(…)" if use == "call" else what, atlas=EXECUTION if tier is Tier.MALICIOUS else SUPPLY,
            mitigation="Do not pass the file's own list of types to skops.io.load as trusted.",
        )  # fmt: skip


def _method(node: dict[str, Any], module: str, name: str, scan: Scan) -> Iterator[Finding]:
    content = node.get("content")
    held = content if isinstance(content, dict) else {}
    function, owner = held.get("func"), held.get("obj")
    owner = owner if isinstance(owner, dict) else {}
    odd = not isinstance(function, str) or not function.isidentifier() or function.startswith("__")
    belongs = str(owner.get("__module__", module)).split(".")[0]
    # Before 0.12 it said that it is a method, and the class of its object was checked against nothing.
    other = belongs not in (module.split(".")[0], "builtins") or (
        name != "method" and owner.get("__class__", name) != name
    )
    if odd or other:
        why = (
            f"reaches for {shown(function, 60)!r}"
            if odd
            else f"claims to be of another class than its object, of {shown(belongs, 60)}"
        )
        yield tell(
            scan, "skops/method", Tier.MALICIOUS, Severity.CRITICAL,
            f"a method node of {shown(module, 60)}.{shown(name, 60)} {why} (CVE-2025-54413)",
            call=f"getattr(…, {shown(function, 60)!r})", atlas=EXECUTION,
        )  # fmt: skip
    else:
        yield tell(
            scan, "skops/method", Tier.UNKNOWN, Severity.MEDIUM,
            f"it holds the method {shown(function, 60)} of {shown(module, 60)}.{shown(name, 60)}", atlas=SUPPLY,
        )  # fmt: skip
