"""What `assay policy check` says about a rule in Rego before anybody relies on it, without evaluating evidence."""

from __future__ import annotations

from dataclasses import dataclass

from assay.policy.rego import library
from assay.policy.rego.interface import Limits, Query
from assay.policy.rego.process import Died
from assay.policy.rego.regorus import RegorusEngine

LIMITS = Limits(seconds=5.0, memory=512 << 20)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong."""

    file: str
    line: int
    """From 1; 0 where no line is to blame."""
    message: str
    """A sentence without file and line."""


def static_problems(query: Query, *, engine: RegorusEngine | None = None, limits: Limits = LIMITS) -> list[Problem]:
    """What is certainly wrong with a program, sorted. Pass an ``engine`` to check many without starting a process each.

    Text that only OPA understands (newer syntax, functions that regorus lacks) is reported too: it needs the engine
    ``opa``. Raises `UndecidedError` when no process can be started.
    """
    if (gone := library.unavailable(query.modules)) is not None:
        file, _, message = gone.partition(": ")
        return [Problem(file, 0, message)]
    modules = {**query.modules, **library.needed(query.modules)}
    own = engine if engine is not None else RegorusEngine()
    try:
        seen = own.look(modules, query.version, limits)
    except Died as error:
        return [Problem(next(iter(query.modules), ""), 0, f"reading the rule {error}")]
    finally:
        if engine is None:
            own.close()
    problems = {Problem(str(file), int(line), _printable(str(said))) for file, line, said in seen["problems"]}
    if not query.network and not query.answers:
        problems |= {
            Problem(str(file), int(line), "http.send asks the network, and the policy allows this rule no host")
            for file, line in seen["asks"]
        }
    return sorted(problems)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
