"""Which names a load may resolve: the rules' safe ones, and those that the caller lists. Default deny.

What the rules call malicious stays refused whoever lists it. Nothing here imports what a name stands for.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import sys
from collections.abc import Iterable

from assay.collect.scan.models.interface import ALLOWED_BY_CALLER, Rules, Tier
from assay.errors import RejectedError, UsageError
from assay.targets.names import shown

_USES = ("reference", "new", "build", "call")


class Allowing:
    """Rules with some more names allowed."""

    def __init__(self, rules: Rules, allow: Iterable[str]) -> None:
        self._rules = rules
        self._allow = frozenset(allow)
        for name in self._allow:
            module, dot, last = name.rpartition(".")
            if not dot or not all(part.isidentifier() for part in name.split(".")):
                raise UsageError(f"allow: {shown(name)} is not the full name of a class or function", hint="pkg.Class")
            if any(rules.judge(module, last, use)[0] is Tier.MALICIOUS for use in _USES):
                raise UsageError(
                    f"allow: {name} does what no honest model needs, and cannot be allowed",
                    hint="load such a file without assay, in a sandbox, if you must",
                )
        self.digest = hashlib.sha256("\n".join([rules.digest, *sorted(self._allow)]).encode()).hexdigest()
        """Of the rules and of the names that were added."""

    def judge(self, module: str, name: str, use: str) -> tuple[Tier, str]:
        """As `Rules.judge`."""
        tier, rule = self._rules.judge(module, name, use)
        if tier in (Tier.UNKNOWN, Tier.CODE) and f"{module}.{name}" in self._allow:
            return Tier.SAFE, ALLOWED_BY_CALLER
        return tier, rule


def check_name(rules: Rules, module: str, name: str, where: str) -> None:
    """Raise `RejectedError` unless a pickle in ``where`` may resolve this global.

    A pickle of protocol 2 or older names things as Python 2 did, and the unpickler translates them. At this point the
    protocol is not known, so a name that would be translated is refused where a module of the old name exists.
    """
    present = _translated(module, name)
    tier, rule = _best(rules, *present)
    if present != (module, name) and _exists(module):
        tier, rule = Tier.UNKNOWN, "two-readings"
    if tier not in (Tier.SAFE, Tier.NONE):
        raise RejectedError(
            f"{where} needs {shown(f'{module}.{name}')}, which is {tier.value} ({rule})",
            hint="nothing of the file ran; if the name is yours and harmless, allow it by its full name",
        )


def _best(rules: Rules, module: str, name: str) -> tuple[Tier, str]:
    """The best of all uses: which use is made of a name was checked when the bytes were inspected."""
    return min((rules.judge(module, name, use) for use in _USES), key=lambda found: found[0].rank)


def _translated(module: str, name: str) -> tuple[str, str]:
    import _compat_pickle

    if (module, name) in _compat_pickle.NAME_MAPPING:
        return _compat_pickle.NAME_MAPPING[module, name]
    return _compat_pickle.IMPORT_MAPPING.get(module, module), name


def _exists(module: str) -> bool:
    if module in sys.modules or module in sys.builtin_module_names:
        return True
    top = module.partition(".")[0]
    return importlib.machinery.PathFinder.find_spec(top) is not None
