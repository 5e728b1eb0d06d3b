"""What ``not`` means in Rego, put back where regorus has another opinion; runs in the worker, when a program is loaded.

In OPA ``not "GPL" in input.licences`` is undefined when there are no licences: arguments are evaluated before the
negation, and what is undefined ends the rule. regorus takes the absence for false and the negation for true, which
lets evidence pass because it says nothing. So each such argument gets a statement of its own before the negation,
``_ = input.licences``, in the same line; nothing that the rule says is changed or removed. What OPA refuses to compile
and regorus answers (a variable that only the negation has, `walk` as a value) is an error here too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

WORTH = re.compile(r"\bnot\b|\bwalk\b")
"""A module without these words needs no look."""
_CLOSURES = ("ArrayCompr", "SetCompr", "ObjectCompr", "Every")
_LITERALS = ("String", "RawString", "Number", "Bool", "Null")

Edit = tuple[int, bytes]
"""Where, in bytes, and what to insert."""


class Unsafe(ValueError):
    """OPA would not compile the module; the message has regorus' form, with the place."""


class Module:
    """One module, and the places where it gets its guards."""

    def __init__(self, source: dict[str, Any], tree: dict[str, Any], rules: frozenset[str]) -> None:
        self._name = source["file"]
        self._text: bytes = source["contents"].encode()
        imported = {name for item in tree["imports"] if (name := self._alias(item))}
        self._documents = rules | imported | {"input", "data"}
        self._edits: list[Edit] = []
        for rule in tree["rules"]:
            self._rule(rule)

    def mended(self) -> str | None:
        """The text with the guards, None when it needs none."""
        text = self._text
        for at, piece in sorted(self._edits, key=lambda edit: edit[0], reverse=True):
            text = text[:at] + piece + text[at:]
        return text.decode() if self._edits else None

    def _alias(self, item: dict[str, Any]) -> str:
        """The name that an import is used by."""
        if item.get("as") is not None:
            return self._slice(item["as"])
        kind, node = _variant(item["refr"])
        return str(node["field"][1] if kind == "RefDot" else node.get("value", ""))

    def _slice(self, span: dict[str, int]) -> str:
        text: bytes = self._text[span["start"] : span["end"]]
        return text.decode()

    def _rule(self, rule: dict[str, Any]) -> None:
        self._refuse_walk(rule)
        if "Spec" not in rule:
            return
        _, head = _variant(rule["Spec"]["head"])
        scope = self._documents | _names(head.get("args", []))
        bound = scope
        for body in rule["Spec"]["bodies"]:
            bound = scope | self._query(body["query"], scope)
            self._closures(body["assign"], bound)
        self._closures(head, bound)

    def _query(self, query: dict[str, Any], scope: frozenset[str]) -> frozenset[str]:
        """Guard a query's negations; returns the names that its other statements have."""
        own: frozenset[str] = frozenset()
        for statement in query["stmts"]:
            kind, node = _variant(statement["literal"])
            if kind not in ("NotExpr", "SomeVars", "Every"):
                own |= _names(node)
        inner = scope | own
        for statement in query["stmts"]:
            kind, node = _variant(statement["literal"])
            self._closures(statement, inner)
            if kind == "NotExpr":
                self._negation(query, statement, node, inner)
        return own

    def _closures(self, root: Any, scope: frozenset[str]) -> None:
        """Guard what stands within comprehensions and ``every``."""
        for kind, node in _closures(root):
            names = scope
            if kind == "Every":
                names |= {self._slice(span) for span in (node["key"], node["value"]) if span is not None}
            inner = names | self._query(node["query"], names)
            for part in ("term", "key", "value", "domain"):
                if not (kind == "Every" and part != "domain"):
                    self._closures(node.get(part), inner)

    def _negation(self, query: Any, statement: Any, node: Any, scope: frozenset[str]) -> None:
        for name, span in _variables(node["expr"]):
            if name not in scope:
                raise Unsafe(self._said(span, f"var {name} is unsafe: only a negation has it"))
        terms = list(dict.fromkeys(self._guards(node["expr"], negated=True)))
        if not terms:
            return
        start, end = statement["span"]["start"], statement["span"]["end"]
        modified = self._text[node["span"]["end"] : end].rstrip(b"; \t\r\n")
        guards = b"".join(b"_ = " + term + modified + b"; " for term in terms)
        if self._text[query["span"]["start"] : query["span"]["start"] + 1] in (b"{", b"|"):
            self._edits.append((start, guards))
        else:
            self._edits += [(start, b"{ " + guards), (end, b" }")]

    def _guards(self, expression: Any, *, negated: bool) -> Iterator[bytes]:
        """The terms that OPA evaluates before the negation. ``negated``: of what the negation itself is about (and of
        the two sides of an equation), OPA evaluates only the arguments and indices before.
        """
        kind, node = _variant(expression)
        if kind in _LITERALS or kind in _CLOSURES:
            return
        if kind == "Var":
            if not negated and node["value"] in self._documents:
                yield self._slice(node["span"]).encode()
        elif kind in ("RefDot", "RefBrack"):
            base = _base(expression)
            if not negated and base in ("Var", "Call"):
                yield self._slice(node["span"]).encode()
                return
            if kind == "RefBrack":
                yield from self._guards(node["index"], negated=False)
            yield from self._guards(node["refr"], negated=_variant(node["refr"])[0] != "Call")
        elif kind == "Call":
            if not negated:
                yield self._slice(node["span"]).encode()
                return
            for item in node["params"]:
                yield from self._guards(item, negated=False)
        elif kind == "AssignExpr" or (kind == "BoolExpr" and node["op"] == "Eq"):
            for side in (node["lhs"], node["rhs"]):
                yield from self._guards(side, negated=_variant(side)[0] in ("Var", "RefDot", "RefBrack"))
        else:
            for item in _parts(node):
                yield from self._guards(item, negated=False)

    def _refuse_walk(self, root: Any) -> None:
        """regorus finds nothing by ``[path, value] := walk(x)``, and all of it by ``walk(x, [path, value])``."""
        for node in _nodes(root):
            call = node.get("Call")
            if isinstance(call, dict) and "fcn" in call and len(call["params"]) == 1:
                kind, called = _variant(call["fcn"])
                if kind == "Var" and called["value"] == "walk":
                    said = "could not find function walk with one argument: write walk(x, [path, value])"
                    raise Unsafe(self._said(call["span"], said))

    def _said(self, span: dict[str, int], message: str) -> str:
        return f"--> {self._name}:{span['line']}:{span['col']}\nerror: {message}"


def _variant(node: dict[str, Any]) -> tuple[str, Any]:
    """The kind of a node and the node itself."""
    ((kind, inner),) = node.items()
    return kind, inner


def _base(expression: Any) -> str:
    """The kind of what a reference starts from."""
    kind, node = _variant(expression)
    return _base(node["refr"]) if kind in ("RefDot", "RefBrack") else kind


def _parts(node: dict[str, Any]) -> Iterator[Any]:
    """The expressions that an operator, a membership or a collection is made of."""
    for name in ("key", "value", "collection", "lhs", "rhs", "expr"):
        if isinstance(node.get(name), dict):
            yield node[name]
    yield from node.get("items", ())
    for _, key, value in node.get("fields", ()):
        yield key
        yield value


def _nodes(root: Any) -> Iterator[dict[str, Any]]:
    """Every object in a tree."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _closures(root: Any) -> Iterator[tuple[str, Any]]:
    """The comprehensions and ``every`` of a tree, without those within them."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            found = [(kind, node[kind]) for kind in _CLOSURES if isinstance(node.get(kind), dict)]
            if found:
                yield from found
            else:
                waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _variables(root: Any) -> Iterator[tuple[str, dict[str, int]]]:
    """The variables of a tree and where they stand, without names of functions and what closures have to themselves."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict) and not any(isinstance(node.get(kind), dict) for kind in _CLOSURES):
            variable = node.get("Var")
            if isinstance(variable, dict) and "value" in variable:
                yield variable["value"], variable["span"]
            else:
                waiting += [inner for name, inner in node.items() if name != "fcn"]


def _names(root: Any) -> frozenset[str]:
    return frozenset(name for name, _ in _variables(root)) - {"_"}


def mended(trees: list[dict[str, Any]]) -> dict[str, str]:
    """The texts of the modules that need guards, by name, given regorus' syntax trees of all. Raises `Unsafe`."""
    rules: dict[str, set[str]] = {}
    for tree in trees:
        rules.setdefault(_package(tree), set()).update(_heads(tree["ast"]["rules"]))
    found: dict[str, str] = {}
    for tree in trees:
        if WORTH.search(tree["source"]["contents"]) is not None:
            text = Module(tree["source"], tree["ast"], frozenset(rules[_package(tree)])).mended()
            if text is not None:
                found[tree["source"]["file"]] = text
    return found


def _package(tree: dict[str, Any]) -> str:
    return ".".join(name for name in _path(tree["ast"]["package"]["refr"]))


def _path(reference: Any) -> list[str]:
    kind, node = _variant(reference)
    if kind == "Var":
        return [node["value"]]
    if kind == "RefDot":
        return [*_path(node["refr"]), node["field"][1]]
    if kind == "RefBrack":
        inner, index = _variant(node["index"])
        return [*_path(node["refr"]), str(index["value"]) if inner == "String" else "*"]
    return ["*"]


def _heads(rules: list[dict[str, Any]]) -> Iterator[str]:
    """The first names of rules."""
    for rule in rules:
        if "Default" in rule:
            yield _path(rule["Default"]["refr"])[0]
        else:
            yield _path(_variant(rule["Spec"]["head"])[1]["refr"])[0]
