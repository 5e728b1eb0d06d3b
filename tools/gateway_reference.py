"""Writes docs/gateway-file.md, the reference of the gateway file, from the docstrings of settings/.

python tools/gateway_reference.py            write it
python tools/gateway_reference.py --check    exit 1 when it is not up to date
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import sys
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from assay.guard.gateway.rules.rates import Rate as Counted
from assay.guard.gateway.settings import around, callers, keeping, model, serving
from assay.guard.gateway.settings.words import Bytes, Rate, Seconds

PAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs", "gateway-file.md")

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "Keys": model.Settings,
    "callers": callers.Callers,
    "callers.jwt": callers.Jwt,
    "callers.mtls": callers.Mutual,
    "plans": callers.Plan,
    "routes": serving.RouteSettings,
    "routes.schema": serving.Schema,
    "routes.price": serving.Price,
    "rules": serving.Rule,
    "rules.rate": Counted,
    "model": serving.Model,
    "hardenings": serving.Hardening,
    "detect": keeping.Detect,
    "detect.reactions": keeping.Reactions,
    "log": keeping.Log,
    "capture": keeping.Capture,
    "capture.masking": keeping.Masking,
    "tls": serving.Tls,
    "sizes": serving.Sizes,
    "timeouts": serving.Timeouts,
    "redis": around.Redis,
    "admin": around.Admin,
    "edges": around.Edge,
    "otlp": around.Otlp,
}
"""Headings to what they are about, in the order of the page: who, how much, what, then how."""

_SEVERAL = {
    "callers.jwt": "A list, one entry for each issuer.",
    "plans": "A mapping from names to plans.",
    "routes": "A list; without it all protocols but `json` are served at their own paths.",
    "rules": "A list.",
    "hardenings": "A mapping from names to hardenings.",
    "capture.masking": "A list.",
    "edges": "A list.",
}
"""What a section's key holds where it is no single mapping."""

STATEMENTS = {
    "all": ("list of statements", "every one does"),
    "any": ("list of statements", "one of them does"),
    "not": ("statement", "it does not"),
    "address-in": ("set of `addresses`, network, or a list of these", "the address lies in it"),
    "country": ("two letters (ISO 3166-1); `ZZ`: not known", "the address is there, as `countries` says"),
    "method": ("text, or how it looks", "it is the request's method"),
    "path": ("text with `*` and `?`, or how it looks", "it is the request's path, decoded, without its query"),
    "query": ("`{name: …}` and how its value looks", "the query has such a parameter"),
    "header": ("`{name: …}` and how its value looks", "the request has such a header, which may then come once (400)"),
    "size": ("`{over: 64KiB}` or `{under: …}`", "the body is so large; one of unknown length is `over` any size"),
    "protocol": ("`kserve-v1`, …", "the route speaks it"),
    "verb": ("`infer`, `chat`, `metadata`, …", "it is what the model is asked for"),
    "model": ("text, or how it looks", "it is the model of the path"),
    "caller": ("text, or how it looks", "it is the caller's id: `key:…`, `jwt:…`, `mtls:…`, `address:…`"),
    "user": ("text, or how it looks", "it is the user of the access log"),
    "owner": ("text, or how it looks", "the caller belongs to it"),
    "plan": ("text, or how it looks", "it is the caller's plan"),
    "group": ("text or list", "the key or token has this scope"),
}
"""Keys of a statement (`rules/statements.py`): what stands there, and when it holds."""

_NAMES: dict[Any, str] = {str: "text", int: "number", float: "number", bool: "true or false", Any: "anything"}
_UNITS: dict[Any, str] = {Bytes: "size", Seconds: "time", Rate: "rate"}
_UNSAID = {Seconds: lambda value: f"{value * 1000:g}ms" if value < 1 else _time(int(value)), Bytes: lambda v: _size(v)}

_INTRODUCTION = """\
# The gateway file

<!-- Written by tools/gateway_reference.py from src/assay/guard/gateway/settings/: change the texts there. -->

`assay gateway --config gateway.yaml` reads this file, and so do the [middleware](gateway.md#inside-of-your-service) and
the [edge](gateway-edge.md). It begins with `assay-gateway: 1`. A key that is not known is an error, and so is a value
that could mean two things; `assay gateway check --config gateway.yaml` says so without serving anything. Paths that do
not begin with `/` start at the file's folder. See [the guide](gateway.md) for what it is all good for.

Times are written `250ms`, `30s`, `5m`, `12h` or `1d`, sizes `4096`, `64KiB` or `10MB`, rates `100/60s`, `10/s` or
`5000/d`. Where the default is empty, nothing is limited, checked or done.
"""


def render() -> str:
    """The page."""
    lines = [_INTRODUCTION]
    for heading, kind in SECTIONS.items():
        lines += [f"## {heading}", "", _said(kind, heading), "", "| key | value | default | |", "|---|---|---|---|"]
        lines += list(_rows(kind))
        lines.append("")
        if heading == "rules":
            lines += list(_statements())
    return "\n".join(lines).rstrip() + "\n"


def _said(kind: type, heading: str) -> str:
    said = inspect.cleandoc(kind.__doc__ or "")
    return " ".join([*_prose(said).split(), _SEVERAL.get(heading, "")]).strip()


def _rows(kind: type[msgspec.Struct]) -> Iterator[str]:
    texts = _docstrings(kind)
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        if field.encode_name == "directory":  # set while reading
            continue
        text = _cell(_prose(texts.get(field.name, "")))
        yield f"| `{field.encode_name}` | {_kind(hints[field.name])} | {_default(field)} | {text} |"


def _docstrings(kind: type) -> dict[str, str]:
    """The texts below attributes, which Python itself forgets."""
    (body,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for one, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and isinstance(after, ast.Expr):
            assert isinstance(after.value, ast.Constant)
            found[one.target.id] = inspect.cleandoc(str(after.value.value))
    return found


def _kind(hint: Any) -> str:
    """A type in words."""
    if hint in _UNITS:
        return _UNITS[hint]
    if hint in _NAMES:
        return _NAMES[hint]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _kind(inner[0])
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(one) for one in inner if one is not type(None))
    if origin is tuple:
        return f"list of {_plural(_kind(inner[0]))}"
    if origin is dict:
        keys = f" by {_kind(inner[0])}" if typing.get_origin(inner[0]) is Literal else ""
        return "mapping" if inner[1] is Any else f"{_kind(inner[1])}{keys or ' by name'}"
    for name, section in SECTIONS.items():
        if hint is section:
            return f"[{name}](#{_anchor(name)})"
    raise SystemExit(f"gateway_reference: give {hint!r} a section")


def _plural(text: str) -> str:
    return {"text": "texts", "number": "numbers"}.get(text, text)


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if field.name == "plans":
        return "`default`, without limits"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()  # type: ignore[misc]
    if isinstance(value, msgspec.Struct) or value in (None, "", (), {}):
        return ""
    said: Any = msgspec.to_builtins(value, enc_hook=repr)
    if type(value) in _UNSAID:
        return f"`{_UNSAID[type(value)](value)}`"
    return f"`{said}`" if isinstance(said, str) else f"`{json.dumps(said)}`"


def _time(seconds: int) -> str:
    for unit, name in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds // unit}{name}"
    return f"{seconds}s"


def _size(value: int) -> str:
    for power, name in ((20, "MiB"), (10, "KiB")):
        if value >= 1 << power and value % (1 << power) == 0:
            return f"{value >> power}{name}"
    return str(value)


def _statements() -> Iterator[str]:
    yield from ("### Statements", "")
    yield (
        "What `match` and `scope-down` say. All keys of a mapping must hold; of a list of values any. What a request "
        "does not have (a header, a caller, a country) is never matched. How a text looks: `{exact: …}`, "
        "`{prefix: …}`, `{contains: …}`, `{glob: …}` or `{regex: …}` (in time linear in the text, so without "
        "look-around and references)."
    )
    yield from ("", "| key | value | holds where |", "|---|---|---|")
    for name, (value, text) in STATEMENTS.items():
        yield f"| `{name}` | {value} | {_cell(text)} |"
    yield ""


def _prose(text: str) -> str:
    """Docstrings speak Python; readers of a YAML file need not."""
    text = re.sub(r"(^|\. |\n)None: ", r"\1Left out: ", text).replace("None: ", "left out: ")
    return re.sub(r"``(.+?)``", r"`\1`", text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _anchor(name: str) -> str:
    """The anchor that GitHub gives a heading."""
    return name.lower().replace(".", "").replace(" ", "-")


if __name__ == "__main__":
    from pages import write

    sys.exit(write(PAGE, render(), "tools/gateway_reference.py"))
