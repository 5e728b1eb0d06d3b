"""The rules: which names a pickle may use, which no honest model needs, and the rest, which is unknown.

Reads lists that ship with the package, and those that a project adds; imports no library. Whatever is not listed is
unknown, and what is denied stays denied, whoever lists it.
"""

from __future__ import annotations

import _compat_pickle
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources

from assay.collect.scan.models.interface import Tier
from assay.collect.scan.models.rules import denied, lists, operations
from assay.errors import DocumentError

ALLOWED = "pickle/allowed"
"""Rule of everything that is safe."""

UNLISTED = "pickle/unlisted-global"
"""Rule of a name that nobody listed."""

UNLISTED_CALL = "pickle/unlisted-call"
"""Rule of a listed class or function that is called where only making or mentioning it was looked at."""

CODE = "pickle/code-by-value"
"""Rule of names that carry code openly."""

_TIERS = {"code": (Tier.CODE, CODE), "unlisted": (Tier.UNKNOWN, UNLISTED)}
"""Categories of the denied list that are not an attack by themselves."""

_NEEDED = {
    "reference": lists.Use.REFERENCE,
    "call": lists.Use.CALL,
    "new": lists.Use.NEW,
    "build": lists.Use.NEW | lists.Use.CALL,
    "fill": lists.Use.FILL | lists.Use.CALL,
}
"""What one of which is needed for each use."""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All lists together (`interface.Rules`)."""

    digest: str
    """Hex SHA-256 over all lists: the shipped ones and the project's."""
    allowed: lists.Entries = field(repr=False)
    """What may be used, of all lists."""
    denied: denied.Denied = field(repr=False)
    """What may not."""
    renamed: Mapping[str, str] = field(repr=False)
    """Old name of a module to the present one, where libraries moved their classes."""
    _seen: dict[tuple[str, str, str], tuple[Tier, str]] = field(default_factory=dict, repr=False, compare=False)

    def judge(self, module: str, name: str, use: str) -> tuple[Tier, str]:
        """The tier of a global and the rule that says so; see `interface.Rules`. Never raises for any text; an unknown
        ``use`` is judged as a call.
        """
        key = (module, name, use)
        found = self._seen.get(key)
        if found is None:
            found = self._judge(module, name, use)
            if len(self._seen) < _KEPT:
                self._seen[key] = found
        return found

    def _judge(self, module: str, name: str, use: str) -> tuple[Tier, str]:
        present = modern(module, name)
        readings = {(module, name): None, present: None, (self._moved(present[0]), present[1]): None}
        for read, called in readings:
            category = self.denied.category(read, called, use)
            if category is not None:
                return _TIERS.get(category) or (Tier.MALICIOUS, f"pickle/denied-{category}")
        uses = lists.Use(0)
        for read, called in readings:
            uses |= self.allowed.get(read, {}).get(called) or self._member(read, called)
        if use == "build" and uses & lists.Use.MEMBER:
            return Tier.MALICIOUS, "pickle/denied-reflection"  # the member of an enumeration, which all code shares
        if uses & _NEEDED.get(use, lists.Use.CALL):
            return Tier.SAFE, ALLOWED
        return Tier.UNKNOWN, UNLISTED_CALL if uses else UNLISTED

    def _member(self, module: str, name: str) -> lists.Use:
        """What a member of a listed enumeration may be used for."""
        owner, _, member = name.rpartition(".")
        listed = self.allowed.get(module, {}).get(owner, lists.Use(0)) & lists.Use.MEMBER
        return lists.Use.REFERENCE if listed and member.isidentifier() and member[0] != "_" else lists.Use(0)

    def _moved(self, module: str) -> str:
        """The present name of a module: its own entry, or that of the longest package it lies in."""
        head, tail = module, ""
        while head:
            if head in self.renamed:
                return self.renamed[head] + tail
            head, dot, last = head.rpartition(".")
            tail = f"{dot}{last}{tail}"
        return module


_KEPT = 100_000
"""Answers that are remembered."""


def modern(module: str, name: str) -> tuple[str, str]:
    """Python 3's name of what Python 2 called so, as `pickle` maps it for protocols below 3."""
    if (module, name) in _compat_pickle.NAME_MAPPING:
        return _compat_pickle.NAME_MAPPING[module, name]
    owner, dot, member = name.partition(".")
    if dot and (module, owner) in _compat_pickle.NAME_MAPPING:  # what `getattr` takes out of a class
        home, renamed = _compat_pickle.NAME_MAPPING[module, owner]
        return home, f"{renamed}.{member}"
    return _compat_pickle.IMPORT_MAPPING.get(module, module), name


def load(extra: Mapping[str, bytes] | None = None) -> RuleSet:
    """The shipped lists, with those of a project: file name to content. Raises `DocumentError` for a list that is not
    one, or that allows what is denied. The shipped ones are read once per process.
    """
    shipped, forbidden, renamed, digests = _shipped()
    allowed = {module: dict(names) for module, names in shipped.items()} if extra else shipped
    own = {}
    for name, data in (extra or {}).items():
        _merge(allowed, _checked(lists.parse(data, name), forbidden, name).entries)
        own[hashlib.sha256(data).hexdigest()] = True  # named by content: a path must not change the digest
    digest = hashlib.sha256("\n".join([*digests, *sorted(own)]).encode()).hexdigest()
    return RuleSet(digest, allowed, forbidden, renamed)


def _checked(listed: lists.AllowList, forbidden: denied.Denied, name: str) -> lists.AllowList:
    for module, names in listed.entries.items():
        for called, uses in names.items():
            use = "call" if uses & lists.Use.CALL else "new" if uses & lists.Use.NEW else "reference"
            for read in {(module, called), modern(module, called)}:
                if category := forbidden.category(*read, use):
                    raise DocumentError(
                        f"{name} allows {module}.{called}, which is denied ({category}) and cannot be allowed",
                        hint="remove the line; a model that needs it runs code when it is loaded",
                    )
    return listed


def _merge(into: lists.Entries, more: lists.Entries) -> None:
    for module, names in more.items():
        held = into.get(module)
        if held is None:
            into[module] = dict(names)
        else:
            for name, uses in names.items():
                held[name] = held[name] | uses if name in held else uses


@lru_cache(maxsize=1)
def _shipped() -> tuple[lists.Entries, denied.Denied, Mapping[str, str], tuple[str, ...]]:
    texts = {
        item.name: item.read_bytes()
        for item in resources.files(__package__).joinpath("data").iterdir()
        if item.name.endswith(".txt")
    }
    held = [*sorted(texts.items()), *operations.texts()]
    digests = tuple(f"{name} {hashlib.sha256(data).hexdigest()}" for name, data in held)
    forbidden = denied.parse(texts.pop("denied.txt").decode("ascii"))
    renamed = dict(line.split() for line in texts.pop("renamed.txt").decode("ascii").splitlines() if line[:1].isalpha())
    allowed: lists.Entries = {}
    for name in sorted(texts):
        _merge(allowed, lists.parse(texts[name], name).entries)
    return allowed, forbidden, renamed, digests
