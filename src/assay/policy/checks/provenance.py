"""``provenance``: how something was built, by SLSA's provenance: builder, template, every parameter, every dependency.

The builder's id is what the document says; that the right platform signed it is the selector's matter (``builder``,
``signed-by``). Unknown external parameters are wrong, as SLSA demands of a verifier (v1.1, verifying artifacts).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from msgspec import Meta

from assay.errors import DocumentError
from assay.policy.checks.arguments import Arguments, Word, Words, convert, schema
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import dig, first, glob, listed, mapping, odd, show, string, told
from assay.policy.fields import strong
from assay.policy.verdict import Violation

TYPES = ("https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v1.*")

_NAMES = ("uri", "name", "downloadLocation")
_NOWHERE = "about:blank"
"""The URI of what has neither URI nor digest (RFC 6694); SLSA demands one of them."""

Value = str | bool | int | float | list[str | bool | int | float]
"""A glob for text, a value, or several of which one must be there; ``*`` accepts any value, and none at all."""


class Provenance(Arguments, frozen=True):
    """How it was built."""

    builders: Annotated[Words, Meta(description="The builder's id must be one of these (globs).")] = ()
    build_types: Annotated[Words, Meta(description="The build's template must be one of these (globs).")] = ()
    external_parameters: (
        Annotated[
            dict[Word, Value],
            Meta(description="All parameters that may be there, and their values; nested ones as workflow.ref."),
        ]
        | None
    ) = None
    deny_dependencies: Annotated[Words, Meta(description="Denied dependencies, by URI or name (globs).")] = ()
    allow_dependencies: Annotated[
        Words,
        Meta(
            description="Every dependency must be one of these (globs): by its URI, its name where it has none, or "
            "its digest (sha256:…)."
        ),
    ] = ()
    digested: Annotated[bool, Meta(description="Every dependency must have a strong digest, or a commit.")] = False


class _Check:
    name = "provenance"
    types: tuple[str, ...] = TYPES
    schema = schema(Provenance)

    def prepare(self, arguments: Any, place: str) -> Provenance:
        """See `Check.prepare`."""
        read = convert(Provenance, arguments, place)
        if read == Provenance():
            raise DocumentError(f"{place}: nothing is demanded", hint="builders, build-types, external-parameters, …")
        return read

    def violations(self, document: Document, arguments: Provenance) -> Iterator[Violation]:
        """See `Check.violations`."""
        return told(self, document, _wrong(document.predicate, arguments))


def _wrong(predicate: Mapping[str, Any], wanted: Provenance) -> Iterator[Violation]:
    builder = string(dig(predicate, "runDetails", "builder", "id"))
    if wanted.builders and (builder is None or not first(wanted.builders, builder)):
        yield Violation(f"the builder is {show(builder)}, which is not on the list", "runDetails.builder.id")
    kind = string(dig(predicate, "buildDefinition", "buildType"))
    if wanted.build_types and (kind is None or not first(wanted.build_types, kind)):
        yield Violation(f"the build type is {show(kind)}, which is not on the list", "buildDefinition.buildType")
    if wanted.external_parameters is not None:
        yield from _parameters(dig(predicate, "buildDefinition", "externalParameters"), wanted.external_parameters)
    if wanted.deny_dependencies or wanted.allow_dependencies or wanted.digested:
        yield from _dependencies(dig(predicate, "buildDefinition", "resolvedDependencies"), wanted)


def _parameters(found: Any, wanted: Mapping[str, Value]) -> Iterator[Violation]:
    path = "buildDefinition.externalParameters"
    if not isinstance(found, Mapping):
        yield Violation("the external parameters are absent", path)
        return
    for name, value in wanted.items():
        there, stated = _at(found, name)
        if value == "*":
            continue
        if not there:
            yield Violation(f"the parameter {show(name)} is absent", path, {"parameter": name})
        elif not any(_equal(stated, one) for one in (value if isinstance(value, list) else [value])):
            needs = ", ".join(map(show, value)) if isinstance(value, list) else show(value)
            text = f"the parameter {show(name)} is {show(stated)}, needs {needs}"
            yield Violation(text, f"{path}.{name}", {"parameter": name, "found": show(stated)})
    # A nested parameter is known when it is named itself, or when all below one of its parents is.
    waiting: list[tuple[str, Any, int]] = [(str(name), value, 1) for name, value in found.items()]
    inner = {name.rpartition(".")[0] for name in wanted if "." in name}
    inner |= {parent for name in inner for parent in _parents(name)}
    while waiting:
        name, value, depth = waiting.pop()
        if name in wanted and name not in inner:
            continue
        if name in inner and isinstance(value, Mapping) and depth < 20:
            waiting += [(f"{name}.{key}", item, depth + 1) for key, item in value.items()]
        elif name not in wanted:
            text = f"the parameter {show(name)} is not one that the rule knows"
            yield Violation(text, f"{path}.{name[:300]}", {"parameter": name[:300]})


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _at(found: Mapping[str, Any], name: str) -> tuple[bool, Any]:
    """A parameter by its own name, else as the path of a nested one."""
    if name in found:
        return True, found[name]
    value = dig(found, *name.split("."))
    return value is not None, value


def _equal(stated: Any, wanted: str | bool | int | float) -> bool:
    if isinstance(stated, bool) or isinstance(wanted, bool):
        return stated is wanted
    if isinstance(wanted, str):
        return isinstance(stated, str) and glob(wanted, stated)
    return isinstance(stated, int | float) and stated == wanted


def _dependencies(found: Any, wanted: Provenance) -> Iterator[Violation]:
    path = "buildDefinition.resolvedDependencies"
    if found is None or odd(found):
        yield Violation("the resolved dependencies are absent, or can't be read", path)
    for i, item in enumerate(listed(found)):
        if not isinstance(item, Mapping):
            continue
        names = [name for key in _NAMES if (name := string(item.get(key))) and name != _NOWHERE]
        title = show(names[0] if names else None)
        details = {"dependency": names[0][:500]} if names else {}
        if any(first(wanted.deny_dependencies, name) for name in names) or (wanted.deny_dependencies and not names):
            yield Violation(f"the dependency {title} is denied", f"{path}[{i}]", details)
        digests = mapping(item.get("digest"))
        if wanted.allow_dependencies and not _allowed(item, digests, wanted.allow_dependencies):
            yield Violation(f"the dependency {title} is not on the allow list", f"{path}[{i}]", details)
        if wanted.digested and not (any(strong(digests)) or string(digests.get("gitCommit"))):
            yield Violation(f"the dependency {title} has no digest that proves anything", f"{path}[{i}]", details)


def _allowed(item: Mapping[str, Any], digests: Mapping[str, Any], allowed: Words) -> bool:
    """By URI, or by name where no URI says otherwise: `assay run` names what a step read, and where that came from
    nobody knows. A digest is never compared with a pattern: some digest or other fits any.
    """
    uri = item.get("uri")
    if first(allowed, string(item.get("name") if uri in (None, _NOWHERE) else uri) or ""):
        return True
    stated = {f"{name}:{one}" for name, value in digests.items() for one in strong({name: value})}
    return not stated.isdisjoint(word.lower() for word in allowed)


CHECK = _Check()
