"""What lies where in a bundle: its description, its policies, its catalogue of rules. Pure, over `Sources`.

``bundle.yaml`` is optional; policies lie anywhere, rules in ``rules/FAMILY/NAME.yaml`` or, in bundles of valint, in
``v2/rules/FAMILY/NAME.yaml``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from assay import strict_yaml
from assay.errors import DocumentError, TargetError, UsageError
from assay.policy.sources import Sources, check_name

DESCRIPTION = "bundle.yaml"

_ENDINGS = (".yaml", ".yml")
# Keys at the start of a line can only be the document's own: everything inside of it is indented.
_POLICY = re.compile(
    rb"""^(?:["']?assay-policy["']?[ \t]*:|config-type[ \t]*:[ \t]*["']?initiative\b|attest[ \t]*:)""", re.M
)
_VERSION = re.compile(rb"""^version[ \t]*:[ \t]*["']?v?([0-9]{1,6})""", re.M)
_RULES = re.compile(r"(?:[^/]+/)?rules/")
_USES = re.compile(
    r"(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)+)(?:@v(?P<version>[0-9]{1,6})(?P<rules>/rules)?)?"
)


class Description(msgspec.Struct, forbid_unknown_fields=True, rename={"format": "assay-bundle"}):
    """``bundle.yaml``."""

    format: int
    """1."""
    name: str = ""
    version: str = ""
    description: str = ""
    default: str | None = None
    """The policy to use when none is named."""
    policies: list[str] = []
    """Its policies; empty: whatever looks like one."""


def choose(sources: Sources, named: str | None) -> str:
    """The policy's file: the one that is ``named``, else the bundle's default, else the only one.

    Raises `UsageError` that lists the policies there are, `DocumentError` for a ``bundle.yaml`` that is not right.
    """
    names = sources.names()
    if named is not None:
        if named not in names:
            raise UsageError(f"{sources.uri} has no file {named[:200]!r}", hint=_listed(_policies(sources)))
        return named
    description = _description(sources)
    if description is not None and description.default is not None:
        return description.default
    found = (description.policies if description is not None else []) or _policies(sources)
    if len(found) == 1:
        return found[0]
    problem = "has several policies" if found else "has no policy"
    raise UsageError(f"{sources.uri} {problem}", hint=_listed(found))


def _listed(policies: list[str]) -> str:
    if not policies:
        return "a policy is a YAML file that begins with 'assay-policy: 1'"
    more = f" and {len(policies) - 10} more" if len(policies) > 10 else ""
    return f"write #FILE; there are {', '.join(policies[:10])}{more}"


def _policies(sources: Sources) -> list[str]:
    candidates = (name for name in sources.names() if name.endswith(_ENDINGS) and not _RULES.match(name))
    return [name for name in candidates if _POLICY.search(sources.read(name))]


def _description(sources: Sources) -> Description | None:
    if DESCRIPTION not in sources.names():
        return None
    where = f"{DESCRIPTION} of {sources.uri}"
    try:
        found = msgspec.convert(strict_yaml.loads(sources.read(DESCRIPTION), DESCRIPTION), Description)
    except msgspec.ValidationError as error:
        raise DocumentError(f"{where}: {error}") from None
    if found.format != 1:
        raise DocumentError(f"{where}: version {found.format} is not known here, only 1")
    for name in (*found.policies, *([found.default] if found.default is not None else [])):
        if check_name(name) != name or name not in sources.names():
            raise DocumentError(f"{where} names the policy {name[:200]!r}, which is not in the bundle")
    return found


def resolve_rule(sources: Sources, uses: str) -> str | None:
    """The file of the rule that ``family/name@v1`` means, or None where the bundle has none of that name and version.

    Versions are kept apart: ``@v2`` is ``v2/rules/…``, or a file in ``rules/…`` that says ``version: 2``. One that says
    nothing is version 1. Without ``@`` it is what lies in ``rules/``. Raises `UsageError` for what is no rule's name.
    """
    match = _USES.fullmatch(uses)
    if match is None:
        raise UsageError(f"{uses[:200]!r} is not the name of a rule", hint="write uses: FAMILY/NAME@v1")
    version = match["version"]
    for ending in _ENDINGS:
        if version is not None and _read(sources, name := f"v{version}/rules/{match['name']}{ending}") is not None:
            return name
    for ending in _ENDINGS if match["rules"] is None else ():
        data = _read(sources, name := f"rules/{match['name']}{ending}")
        if data is not None and version in (None, _version(data)):
            return name
    return None


def resolver(*places: Sources) -> Callable[[str], tuple[Sources, str]]:
    """Finds a rule in the first of several places that has it; raises `UsageError` where none does."""

    def resolve(uses: str) -> tuple[Sources, str]:
        for sources in places:
            if (name := resolve_rule(sources, uses)) is not None:
                return sources, name
        where = " nor ".join(sources.uri for sources in places)
        raise UsageError(f"there is no rule {uses[:200]!r} in {where}", hint="look at the version behind the '@', too")

    return resolve


def _version(data: bytes) -> str:
    found = _VERSION.search(data)
    return found[1].decode().lstrip("0") or "0" if found else "1"


def _read(sources: Sources, name: str) -> bytes | None:
    """A file's bytes, None where there is none; one that is there and cannot be read is an error."""
    try:
        return sources.read(name)
    except TargetError:
        return None
