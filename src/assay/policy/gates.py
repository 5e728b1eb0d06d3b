"""Names of gates, and what is probably a slip of the pen in one.

Gates are free text, and rules for other gates are left out: with a name that was mistyped, by whoever asks or in the
policy itself, a rule would be left out in silence. What is said here never changes a verdict.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from assay.errors import UsageError
from assay.policy.model import Policy

KNOWN = ("train", "load", "deploy", "serve")
"""Gates that assay speaks of itself: `assay.load` asks at ``load``, the policies that come along and the guides name
the others. A policy need not have a rule of its own for each of them.
"""

LONGEST = 100
"""Characters of a name that is compared with others: longer ones would take long, and were not typed."""

SHOWN = 10
"""Names that a sentence lists."""


def named(policy: Policy) -> tuple[str, ...]:
    """The gates that the policy's controls and rules name, in its order."""
    whens = (when for control in policy.controls for when in (control.when, *(rule.when for rule in control.rules)))
    return tuple(dict.fromkeys(gate for when in whens for gate in when.gates))


def near(gate: str, names: Iterable[str]) -> str | None:
    """Which of ``names`` was probably meant by ``gate``, which is none of them; capital letters do not count."""
    if len(gate) > LONGEST:
        return None
    folded = {name.strip().casefold(): name for name in names if len(name) <= LONGEST}
    close = difflib.get_close_matches(gate.strip().casefold(), folded, 1, 0.75)
    return folded[close[0]] if close else None


def refuse_slip(policy: Policy, gate: str | None) -> None:
    """Stops: a gate that somebody said, and that is almost one of the policy's. Raises `UsageError`.

    Who means another gate indeed names it in the policy: then it is known.
    """
    if gate is None:
        return
    if not gate.strip():
        raise UsageError("the gate has no name", hint="leave it out: then the rules for every gate count")
    names = named(policy)
    meant = near(gate, names) if gate not in names else None
    if meant is not None:
        raise UsageError(
            f"no rule of the policy {policy.reference.id} is for the gate {gate!r}, which is almost {meant!r}",
            hint=f"did you mean {meant!r}?",
        )


def doubt(policy: Policy, gate: str | None) -> str | None:
    """What people should hear about a gate that no rule names while some rules are for others; None for nothing."""
    names = named(policy)
    if gate is None or not names or gate in (*names, *KNOWN):
        return None
    more = ", …" if len(names) > SHOWN else ""
    shown = ", ".join(name[:LONGEST] for name in names[:SHOWN])
    return f"no rule of this policy is for the gate {gate[:LONGEST]!r} (it names: {shown}{more})"
