"""What the model hub would say about a model's licence, answered from attested evidence without asking anybody.

The published licence rule sends a request to ``huggingface.co/api/models/…`` and compares ``cardData.license``. The
attested model card at the attested revision says the same and is signed, which the hub's answer of this minute is not.
Evidence that states no licence gives no answer at all, never a permissive one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from assay.evidence.statement import Statement
from assay.policy.reading import wrapped

HUB = "https://huggingface.co"
ARGUMENTS = ("licenses", "licences", "license", "licence", "allowed_licenses", "allowed_licences")
"""Arguments of a rule that list what it allows."""

MAX_EXPRESSION = 2000
"""Characters of a licence expression that is taken apart; a longer one satisfies nothing."""
_MAX_DEPTH = 30

_TOKEN = re.compile(r"\s*(?:(\()|(\))|([^\s()]+))")
_SUPERSEDED = re.compile(r"((?:agpl|lgpl|gpl|gfdl)-\d\.\d)(\+?)")
"""Ids of SPDX before 3.0: ``GPL-3.0`` is ``GPL-3.0-only``, ``GPL-3.0+`` is ``GPL-3.0-or-later``."""


def answers(statement: Statement, arguments: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Responses by URL for a bill of materials that states the target's licence; empty for everything else.

    ``arguments`` are the rule's own: where the attested expression satisfies one of the licences that it allows,
    the answer spells it as the rule does, because the rule compares letter by letter.
    """
    kind = statement.predicate_type
    if kind != wrapped.CYCLONEDX and not kind.startswith(f"{wrapped.CYCLONEDX}/"):
        return {}
    component = _component(wrapped.wrap(statement)["predicate"]["bom"])
    stated = tuple(_stated(component.get("licenses")))
    name = component.get("name")
    if not stated or not isinstance(name, str) or not name:
        return {}
    licence = spelled(stated, tuple(_allowed(arguments)))
    revision = statement.subjects[0].annotations.get("revision") or component.get("version")
    repository = name.replace(f"{HUB}/", "").replace(".git", "").strip("/")  # exactly as the published rule does it
    body: dict[str, Any] = {
        "id": repository.removeprefix("datasets/"),
        "cardData": {"license": licence},
        "tags": [f"license:{licence}"],
    }
    if isinstance(revision, str):
        body["sha"] = revision
    response = {"status_code": 200, "status": "200 OK", "headers": {}, "body": body}
    urls = [f"{HUB}/api/models/{repository}"]
    if repository.startswith("datasets/"):
        urls.append(f"{HUB}/api/{repository}")
    if isinstance(revision, str):
        urls += [f"{url}/revision/{revision}" for url in urls]
    return dict.fromkeys(urls, response)


def spelled(stated: Sequence[str], allowed: Sequence[str]) -> str:
    """The licence as the rule would have to see it: the first of ``allowed`` on which ``stated`` may rest, else its
    own text, in lower case as the hub spells ids. Everything that is stated applies together.
    """
    spellings: dict[str, str] = {}
    for item in allowed:
        spellings.setdefault(canonical(item), item)
    rests_on: list[str] = []
    for expression in stated:
        found = _satisfied(expression, spellings)
        if found is None:
            return " and ".join(text if len(stated) == 1 else f"({text})" for text in stated).lower()
        rests_on += found
    return next(item for name, item in spellings.items() if name in rests_on)


def canonical(licence: str) -> str:
    """One id in the spelling that ids are compared in."""
    text = " ".join(licence.lower().split())
    match = _SUPERSEDED.fullmatch(text)
    return f"{match[1]}{'-or-later' if match[2] else '-only'}" if match else text


def _satisfied(expression: str, allowed: Mapping[str, str]) -> list[str] | None:
    """The allowed ids that a licence expression can rest on, or None where it is not satisfied or not readable."""
    if canonical(expression) in allowed:
        return [canonical(expression)]
    if len(expression) > MAX_EXPRESSION:
        return None
    tokens = [match[0].strip() for match in _TOKEN.finditer(expression)]
    parser = _Expression(tokens, allowed)
    return parser.whole()


class _Expression:
    """SPDX licence expressions (annex D of SPDX 2.3): AND binds closer than OR, WITH closer than both.

    Operators are in capitals, as the annex has them: "MIT or later" is a name that somebody made up.
    """

    def __init__(self, tokens: list[str], allowed: Mapping[str, str]) -> None:
        self._tokens, self._allowed, self._at, self._broken = tokens, allowed, 0, False

    def whole(self) -> list[str] | None:
        found = self._either(0)
        return None if self._broken or self._at < len(self._tokens) else found

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _either(self, depth: int) -> list[str] | None:
        found = self._both(depth)
        while self._next() == "OR":
            self._at += 1
            other = self._both(depth)
            found = found if found is not None else other
        return found

    def _both(self, depth: int) -> list[str] | None:
        found = self._one(depth)
        while self._next() == "AND":
            self._at += 1
            other = self._one(depth)
            found = found + other if found is not None and other is not None else None
        return found

    def _one(self, depth: int) -> list[str] | None:
        word = self._next()
        if word in ("", ")", "AND", "OR", "WITH") or depth > _MAX_DEPTH:
            self._broken = True
            self._at = len(self._tokens)
            return None
        self._at += 1
        if word == "(":
            found = self._either(depth + 1)
            self._broken |= self._next() != ")"
            self._at += 1
            return found
        name = canonical(word)
        if self._next() == "WITH":
            exception = self._tokens[self._at + 1] if self._at + 1 < len(self._tokens) else ""
            self._broken |= not exception or exception in "()"
            self._at += 2
            # An exception may be allowed by name with its licence; a licence alone does not allow its exceptions.
            name = canonical(f"{word} with {exception}")
        return [name] if name in self._allowed else None


def _component(bom: object) -> Mapping[str, Any]:
    metadata = bom.get("metadata") if isinstance(bom, Mapping) else None
    component = metadata.get("component") if isinstance(metadata, Mapping) else None
    return component if isinstance(component, Mapping) else {}


def _stated(licenses: object) -> Iterator[str]:
    """The licences of a component: ids, names and expressions. One that cannot be read counts as one unknown."""
    for item in licenses if isinstance(licenses, list) else ():
        choice = item if isinstance(item, Mapping) else {}
        licence = choice.get("license")
        licence = licence if isinstance(licence, Mapping) else {}
        text = choice.get("expression") or licence.get("id") or licence.get("name")
        yield text if isinstance(text, str) and text.strip() else "unknown"


def _allowed(arguments: Mapping[str, Any]) -> Iterator[str]:
    for name in ARGUMENTS:
        value = arguments.get(name)
        yield from (item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str) and item)
