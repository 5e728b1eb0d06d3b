"""What can be seen in a rule without evaluating it; runs in the worker, on the syntax tree that regorus makes.

It reports what is certainly wrong or would never be allowed. That it sees nothing proves nothing: a rule's answer is
judged by `contract`, never by this.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from json import loads
from typing import Any

import regorus

from assay.policy.rego.negation import Unsafe, mended

SYNTAX = re.compile(r"--> (.*):([0-9]+):[0-9]+\n")
_MESSAGE = re.compile(r"^error: (.+)$", re.MULTILINE)
_COMPILER = re.compile(r"unsafe|shadow|conflicts|multiple outputs|recursion|cannot be used|must be")
"""What an evaluation without input says about the rule itself, as opposed to the missing input."""

Problem = list[Any]
"""File, line, message."""


def look(
    modules: list[list[str]],
    version: str,
    add: Callable[[Any, str, str, str], str],
    builtins: set[str],
    deprecated: set[str],
    engine: Any,
) -> dict[str, Any]:
    """``problems``, and ``asks`` (file and line of each ``http.send``), of modules given as name and text.

    ``engine`` is one without modules, ``add`` adds one to it and says in which version it is; ``builtins`` are the
    functions that it has and regorus hasn't, ``deprecated`` those that only v0 has.
    """
    problems: list[Problem] = []
    asks: list[list[Any]] = []
    for name, text in modules:
        try:
            if add(engine, name, text, version) == "v0":
                builtins = builtins | deprecated
        except RuntimeError as error:
            problems.append(described(str(error), name))
    whole = loads(engine.get_ast_as_json())
    trees = [(tree["source"]["file"], tree["ast"]) for tree in whole]
    texts = {tree["source"]["file"]: tree["source"]["contents"].encode() for tree in whole}
    known = builtins | _native()
    functions = {rule for _, tree in trees for rule in _defined(tree)}
    for name, tree in trees:
        imported = dict(_imports(tree, texts[name]))
        local = ".".join(["data", *_path(tree["package"]["refr"])])
        for called, line in _calls(tree["rules"]):
            full = resolved(called, imported)
            if full == "http.send":
                asks.append([name, line])
            elif full not in known and full not in functions and f"{local}.{full}" not in functions:
                problems.append([name, line, f"there is no function '{called}'"])
    problems += _shape(trees)
    if not problems:
        problems += _compiled(engine, whole)
    return {"problems": problems, "asks": asks}


def described(text: str, name: str) -> Problem:
    """regorus' message as a problem."""
    place, message = SYNTAX.search(text), _MESSAGE.search(text)
    said = message[1] if message else text.split("\n\nStack backtrace")[0].strip().split("\n")[0]
    return [place[1] if place else name, int(place[2]) if place else 0, said[:1_000]]


def resolved(called: str, imported: dict[str, str]) -> str:
    """A function's full name: what an import calls it, or as it stands."""
    first, dot, rest = called.partition(".")
    return f"{imported[first]}{dot}{rest}" if first in imported else called


def _native() -> set[str]:
    """Names of the functions that regorus has itself."""
    engine = regorus.Engine()
    engine.add_policy("names", "package names\nbuiltins := opa.runtime().builtins")
    return {*loads(engine.eval_rule_as_json("data.names.builtins")), "print"}


def _imports(tree: dict[str, Any], text: bytes) -> Iterator[tuple[str, str]]:
    """What a module calls other packages and documents."""
    for item in tree["imports"]:
        path = _path(item["refr"])
        if path and path[0] == "data":
            span = item.get("as")
            yield text[span["start"] : span["end"]].decode() if span else path[-1], ".".join(path)


def _defined(tree: dict[str, Any]) -> Iterator[str]:
    """Full names of a module's rules and functions."""
    package = ["data", *_path(tree["package"]["refr"])]
    for rule in tree["rules"]:
        yield ".".join([*package, *_path(_head(rule))])


def _head(rule: dict[str, Any]) -> Any:
    if "Default" in rule:
        return rule["Default"]["refr"]
    (head,) = rule["Spec"]["head"].values()
    return head["refr"]


def _path(reference: Any) -> list[str]:
    """A reference's constant names, up to the first one that isn't."""
    if not isinstance(reference, dict):
        return []
    (kind, node), *_ = reference.items()
    if kind == "Var":
        return [node["value"]]
    if kind == "RefDot":
        return [*_path(node["refr"]), node["field"][1]]
    if kind == "RefBrack":
        inner = node["index"]
        return [*_path(node["refr"]), *([inner["String"]["value"]] if "String" in inner else [])]
    return []


def _calls(root: Any) -> Iterator[tuple[str, int]]:
    """Every call in a tree: what is called and in which line."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            call = node.get("Call")
            if isinstance(call, dict) and "fcn" in call:
                yield ".".join(_path(call["fcn"])), call["span"]["line"]
            waiting += node.values()


def _shape(trees: list[tuple[str, dict[str, Any]]]) -> list[Problem]:
    """What the package ``verify`` lacks, and literal results that would never be read as a decision."""
    problems: list[Problem] = []
    own = [(name, tree) for name, tree in trees if _path(tree["package"]["refr"]) == ["verify"]]
    if trees and not own:
        name, tree = trees[0]
        return [[name, tree["package"]["span"]["line"], "the package is not 'verify', which is what is asked"]]
    rules = [(name, rule) for name, tree in own for rule in tree["rules"] if _path(_head(rule))[:1] == ["verify"]]
    if own and not rules:
        problems.append([own[0][0], 1, "there is no rule 'verify', which is what is asked"])
    for name, rule in rules:
        if "Default" in rule:
            problems += _literal(name, rule["Default"]["value"])
            continue
        ((kind, head),) = rule["Spec"]["head"].items()
        line = head["span"]["line"]
        if kind != "Compr" or _path(head["refr"]) != ["verify"] or "RefBrack" in head["refr"]:
            problems.append([name, line, "'verify' must be one object with 'allow', not a set, a function or a part"])
        elif head["assign"] is None:
            problems.append([name, line, "'verify' must be an object with 'allow', and is true or undefined"])
        else:
            problems += _literal(name, head["assign"]["value"])
            for body in rule["Spec"]["bodies"]:
                if body["assign"] is not None:
                    problems += _literal(name, body["assign"]["value"])
                problems += _assigned(name, head["assign"]["value"], body)
    return problems


def _assigned(name: str, value: dict[str, Any], body: dict[str, Any]) -> list[Problem]:
    """Problems of ``verify = v { v := {…} }``."""
    if "Var" not in value:
        return []
    found: list[Problem] = []
    for statement in body["query"]["stmts"]:
        expression = statement["literal"].get("Expr", {}).get("expr", {}).get("AssignExpr", {})
        if expression.get("lhs", {}).get("Var", {}).get("value") == value["Var"]["value"]:
            found += _literal(name, expression["rhs"])
    return found


def _literal(name: str, value: dict[str, Any]) -> list[Problem]:
    """Problems of a result that stands there as a literal."""
    ((kind, node),) = value.items()
    line = node.get("span", {}).get("line", 0) if isinstance(node, dict) else 0
    if kind in ("Bool", "Null", "String", "RawString", "Number", "Array", "Set", "ArrayCompr", "SetCompr"):
        return [[name, line, "the result must be an object with 'allow'"]]
    if kind != "Object":
        return []
    fields = {key["String"]["value"]: inner for _, key, inner in node["fields"] if "String" in key}
    if "allow" not in fields and len(fields) == len(node["fields"]):
        return [[name, line, "the result has no 'allow'"]]
    if any(
        kind in fields.get("allow", {}) for kind in ("String", "RawString", "Number", "Null", "Object", "Array", "Set")
    ):
        return [[name, line, "the result's 'allow' must be true or false"]]
    return []


def _compiled(engine: Any, trees: list[dict[str, Any]]) -> list[Problem]:
    """What OPA would not compile, or regorus finds wrong with the rule when it evaluates it for the first time."""
    name = trees[0]["source"]["file"] if trees else ""
    try:
        mended(trees)
        engine.eval_rule_as_json("data.verify.verify")
    except Unsafe as error:
        return [described(str(error), name)]
    except RuntimeError as error:
        problem = described(str(error), name)
        if _COMPILER.search(problem[2]):
            return [problem]
    return []
