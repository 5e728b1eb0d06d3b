"""What a rule matches: trees of ``all``, ``any`` and ``not`` over statements about a request, compiled to functions.

Each mapping's keys must all hold; a list of values means any of them. What a request does not have (a header, a caller,
a country) is never matched, and whatever is not known here is an error that names the rule.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias, get_args
from urllib.parse import parse_qsl

from assay.errors import DocumentError
from assay.guard.gateway.interface import Context, Verb
from assay.guard.gateway.rules.addresses import AddressSet, Networks
from assay.guard.gateway.rules.linear import Linear
from assay.guard.gateway.settings.serving import Spoken
from assay.guard.gateway.settings.words import Bytes
from assay.policy.reading.problems import near

Test: TypeAlias = Callable[[Context], bool]
Reader: TypeAlias = Callable[[Context], "str | None"]

_GLOB = re.compile(r"\[!?[^\[\]!]+\]|.", re.DOTALL)
DEEPEST = 20
"""Mappings inside each other."""


class Countries(Protocol):
    """Where an address is."""

    def country(self, address: str) -> str:
        """ISO 3166-1 alpha-2; ``ZZ`` where it is not known."""


class Surroundings:
    """What statements refer to."""

    def __init__(self, sets: Mapping[str, AddressSet], countries: Countries | None) -> None:
        self.sets = sets
        self.countries = countries


def compile_statement(given: Any, around: Surroundings, what: str, depth: int = 0) -> Test | None:
    """The function for a statement; None: it matches every request. Raises `DocumentError`, beginning with ``what``."""
    if not isinstance(given, dict):
        raise DocumentError(f"{what}: a statement is a mapping, not {str(given)[:60]!r}")
    if depth > DEEPEST:
        raise DocumentError(f"{what}: statements are nested more than {DEEPEST} deep")
    return _all([_one(key, value, around, what, depth) for key, value in given.items()])


def _one(key: Any, value: Any, around: Surroundings, what: str, depth: int) -> Test:
    if key in ("all", "any"):
        if not isinstance(value, list | tuple) or not value:
            raise DocumentError(f"{what}: {key!r} needs a list of statements")
        tests = [compile_statement(item, around, what, depth + 1) or _always for item in value]
        return (_all(tests) or _always) if key == "all" else _any(tests)
    if key == "not":
        inner = compile_statement(value, around, what, depth + 1) or _always
        return lambda context: not inner(context)
    if key == "address-in":
        return _address_in(value, around, what)
    if key == "country":
        return _country(value, around, what)
    if key == "size":
        return _size(value, what)
    if key in ("header", "query"):
        return _named(key, value, what)
    reader = _READERS.get(key) if isinstance(key, str) else None
    if reader is not None:
        _require_known(key, value, what)
        return _text(reader, value, f"{what}: {key}", glob=key == "path")
    if key == "group":
        wanted = frozenset(_texts(value, f"{what}: group"))
        return lambda context: context.caller is not None and not wanted.isdisjoint(context.caller.groups)
    known = sorted({*_READERS, *_OTHERS})
    raise DocumentError(f"{what}: {str(key)[:60]!r} is no statement", hint=near(str(key), known))


def _require_known(key: str, value: Any, what: str) -> None:
    """Raise `DocumentError` for a method, protocol or verb that no request has: such a rule would never match."""
    if isinstance(value, dict):
        if "exact" not in value:
            return
        value = value["exact"]
    known: tuple[str, ...] = {"protocol": get_args(Spoken), "verb": tuple(Verb)}.get(key, ())
    for text in _texts(value, f"{what}: {key}"):
        if (known and text not in known) or (key == "method" and text != text.upper()):
            hint = f"there are: {', '.join(known)}" if known else "methods are written in capitals: POST"
            raise DocumentError(f"{what}: no request has the {key} {text[:40]!r}", hint=hint)


def _always(context: Context) -> bool:
    return True


def _all(tests: list[Test]) -> Test | None:
    if len(tests) < 2:
        return tests[0] if tests else None
    first, rest = tests[0], _all(tests[1:])
    assert rest is not None
    return lambda context: first(context) and rest(context)


def _any(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    first, rest = tests[0], _any(tests[1:])
    return lambda context: first(context) or rest(context)


def _attribute(of: str, name: str) -> Reader:
    """Reads an attribute of what a context may not have."""
    outer, inner = operator.attrgetter(of), operator.attrgetter(name)

    def read(context: Context) -> str | None:
        found = outer(context)
        return None if found is None else str(inner(found))

    return read


_READERS: dict[str, Reader] = {
    "method": operator.attrgetter("method"),
    "path": operator.attrgetter("path"),
    "protocol": _attribute("route", "protocol"),
    "verb": _attribute("route", "verb.value"),
    "model": _attribute("route", "model"),
    "caller": _attribute("caller", "id"),
    "user": _attribute("caller", "user"),
    "owner": _attribute("caller", "owner"),
    "plan": _attribute("caller", "plan"),
}


_OTHERS = ("all", "any", "not", "address-in", "country", "size", "header", "query", "group")


def _address_in(value: Any, around: Surroundings, what: str) -> Test:
    """Named sets; what holds a ``/``, ``.`` or ``:`` is a network itself."""
    texts = _texts(value, f"{what}: address-in")
    inline = [text for text in texts if text not in around.sets and any(sign in text for sign in "/.:")]
    for text in texts:
        if text not in around.sets and text not in inline:
            known = f"there are: {', '.join(around.sets)}" if around.sets else "'addresses' names none"
            raise DocumentError(f"{what}: there is no address set {text[:60]!r} ({known})")
    tests: list[Test] = []
    if inline:
        networks = Networks(inline, what)
        tests.append(lambda context: context.address in networks)
    tests += [_in_set(around.sets[text]) for text in texts if text in around.sets]
    return _any(tests)


def _in_set(addresses: AddressSet) -> Test:
    return lambda context: context.address in addresses.networks


def _country(value: Any, around: Surroundings, what: str) -> Test:
    wanted = frozenset(text.upper() for text in _texts(value, f"{what}: country"))
    if any(len(text) != 2 or not text.isascii() or not text.isalpha() for text in wanted):
        raise DocumentError(f"{what}: countries are two letters (ISO 3166-1), or ZZ for those not known")
    countries = around.countries
    if countries is None:
        raise DocumentError(f"{what}: 'country' needs a database", hint="set 'countries' to a MaxMind DB file")
    return lambda context: countries.country(context.address) in wanted


def _size(value: Any, what: str) -> Test:
    """Of the declared body; ``over`` also matches a body that declares none (chunked), as it may be any size."""
    if not isinstance(value, dict) or not value or set(value) - {"over", "under"}:
        raise DocumentError(f"{what}: size is a mapping with 'over' or 'under'")
    try:
        over = Bytes.read(value["over"]) if "over" in value else None
        under = Bytes.read(value["under"]) if "under" in value else None
    except ValueError as error:
        raise DocumentError(f"{what}: {error}") from None

    def test(context: Context) -> bool:
        headers = context.headers
        declared = headers.get(b"content-length")
        if declared is None:
            if b"transfer-encoding" in headers:
                return over is not None and under is None
            return _within(0, over, under)
        size = int(declared) if len(declared) < 19 and declared.isdigit() else 1 << 62
        return _within(size, over, under)

    return test


def _within(size: int, over: int | None, under: int | None) -> bool:
    return (over is None or size > over) and (under is None or size < under)


def _named(key: str, value: Any, what: str) -> Test:
    """A header or a parameter of the query, by name; without more it is enough that it is there."""
    place = f"{what}: {key}"
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not value["name"]:
        raise DocumentError(f"{place} needs a 'name'")
    rest = {name: wanted for name, wanted in value.items() if name != "name"}
    if key == "header":
        name = value["name"].lower().encode("latin-1", "replace")

        def read(context: Context) -> str | None:
            found = context.headers.get(name)
            return None if found is None else found.decode("utf-8", "surrogateescape")

        return _text(read, rest, place, glob=False) if rest else lambda context: name in context.headers
    parameter = value["name"]
    test = _matcher(rest, place) if rest else None

    def asked(context: Context) -> bool:
        if not context.query:
            return False
        return any(name == parameter and (test is None or test(found)) for name, found in _parameters(context.query))

    return asked


def _parameters(query: bytes) -> list[tuple[str, str]]:
    """All of them: of two with one name, either may be the one that counts. As long as a request line is at most."""
    text = query.decode("latin-1")
    found = parse_qsl(text, keep_blank_values=True, errors="surrogateescape")
    if ";" in text:  # which some servers read as ``&``
        found += parse_qsl(text.replace(";", "&"), keep_blank_values=True, errors="surrogateescape")
    return found


def _text(read: Reader, value: Any, place: str, *, glob: bool) -> Test:
    """A statement about one text: values that it may be, or how it must look."""
    if not isinstance(value, dict):
        texts = _texts(value, place)
        if not glob or not any(sign in text for text in texts for sign in "*?["):
            wanted = frozenset(texts)
            return lambda context: read(context) in wanted
        value = {"glob": texts}
    matches = _matcher(value, place)

    def test(context: Context) -> bool:
        found = read(context)
        return found is not None and matches(found)

    return test


def _matcher(value: Mapping[Any, Any], place: str) -> Callable[[str], bool]:
    if len(value) != 1:
        raise DocumentError(f"{place} needs one of exact, prefix, contains, glob, regex")
    ((how, wanted),) = value.items()
    if how not in ("exact", "prefix", "contains", "glob", "regex"):
        raise DocumentError(f"{place}: {str(how)[:60]!r} is none of exact, prefix, contains, glob, regex")
    texts = _texts(wanted, place)
    if how == "exact":
        exact = frozenset(texts)
        return lambda text: text in exact
    if how == "prefix":
        prefixes = tuple(texts)
        return lambda text: text.startswith(prefixes)
    if how == "contains":
        return lambda text: any(part in text for part in texts)
    patterns = [Linear(_utf8(text if how == "regex" else _glob(text)), place) for text in texts]
    return lambda text: any(pattern.search(text.encode("utf-8", "surrogateescape")) for pattern in patterns)


def _glob(text: str) -> str:
    """A glob as an expression: ``*`` any text, also with ``/``; ``?`` any byte; ``[ab]`` and ``[!ab]`` one of them."""
    parts = []
    for part in _GLOB.findall(text):
        if part in ("*", "?"):
            parts.append(".*" if part == "*" else ".")
        elif len(part) > 2 and part[0] == "[":
            inside = part[1:-1].replace("\\", r"\\")
            parts.append("[^" + inside[1:] + "]" if inside[0] == "!" else "[" + inside.replace("^", r"\^") + "]")
        else:
            parts.append(re.escape(part))
    return "^" + "".join(parts) + "$"


def _utf8(text: str) -> str:
    """Characters that stand for the bytes of UTF-8, as `Linear` reads bytes."""
    return text.encode().decode("latin-1")


def _texts(value: Any, place: str) -> list[str]:
    values = list(value) if isinstance(value, list | tuple) else [value]
    if not values or not all(isinstance(item, str) for item in values):
        raise DocumentError(f"{place} needs a text or a list of texts")
    return values
