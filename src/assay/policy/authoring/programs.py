"""What can be seen to be wrong in a policy's rules in Rego without evaluating them.

One process reads all of them, with limits; a program that cannot be read within them is itself a problem.
"""

from __future__ import annotations

from assay.errors import AssayError
from assay.policy.model import Policy
from assay.policy.reading.problems import Problem


def problems(policy: Policy) -> list[Problem]:
    """Everything that is certainly wrong in the policy's programs, each program looked at once."""
    rules = [rule for rule in policy.rules if rule.rego is not None]
    if not rules:
        return []
    from assay.policy.rego.checking import static_problems
    from assay.policy.rego.interface import Query
    from assay.policy.rego.regorus import RegorusEngine

    found: list[Problem] = []
    seen: set[tuple[tuple[str, str], ...]] = set()
    with RegorusEngine() as engine:
        for rule in rules:
            rego = rule.rego
            if rego is None or (key := tuple(sorted(rego.modules.items()))) in seen:
                continue
            seen.add(key)
            query = Query(rego.modules, version=rego.version, network=rego.network)
            try:
                for problem in static_problems(query, engine=engine):
                    told = f"{problem.file}:{problem.line}: " if problem.line else f"{problem.file}: "
                    found.append(Problem(rule.file, rule.line, f"the rule {rule.id!r}: {told}{problem.message}"))
            except AssayError as error:
                found.append(Problem(rule.file, rule.line, f"the rule {rule.id!r}: {error.message}", error.hint))
    return found
