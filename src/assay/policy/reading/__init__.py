"""From files to a policy: assay's own format and the three generations of the closest product's.

`load` is for use and raises for the first thing that is wrong; `examine` is for authors and lists everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from assay import strict_yaml
from assay.errors import AssayError, DocumentError
from assay.policy.model import Policy
from assay.policy.reading.native import POLICY, NativeReader, Resolve
from assay.policy.reading.problems import Problem, Reading
from assay.policy.sources import Sources

__all__ = ["Problem", "Resolve", "examine", "is_policy", "load"]


Context = Callable[[], Mapping[str, str]]
"""Gives the pipeline's context (`assay.collect.provenance.context`), for formats whose files refer to it."""


def load(
    sources: Sources,
    entry: str,
    resolve: Resolve,
    given: Mapping[str, Any] | None = None,
    context: Context | None = None,
) -> Policy:
    """The policy in the file ``entry``, ready to be evaluated; ``given`` are values for its inputs.

    Raises `DocumentError` with file, line and a suggestion for the first thing that is wrong.
    """
    policy, problems = examine(sources, entry, resolve, given, context)
    for problem in problems:
        if problem.fatal:
            raise problem.error()
    if policy is None:
        raise DocumentError(f"{entry} is not a policy")
    return policy


def examine(
    sources: Sources,
    entry: str,
    resolve: Resolve,
    given: Mapping[str, Any] | None = None,
    context: Context | None = None,
) -> tuple[Policy | None, list[Problem]]:
    """The policy, as far as it can be read, and everything that is wrong with it."""
    problems: list[Problem] = []
    try:
        document, lines = strict_yaml.loads_with_lines(sources.read(entry), entry)
        if isinstance(document, dict) and POLICY in document:
            reading = Reading(entry, lines, problems)
            policy = NativeReader(sources, resolve, reading).read(document, given or {})
        else:
            from assay.policy.reading import valint

            if valint.is_valint(document) is None:
                raise DocumentError(
                    f"{entry} is not a policy: it has neither '{POLICY}: 1' at its top nor the form of a valint policy"
                )
            where = context() if context is not None else None
            policy = valint.read(document, lines, sources, entry, resolve=resolve, given=given or {}, context=where)
    except AssayError as error:
        return None, [*problems, _located(entry, error)]
    # The digest is over what was read, and reading is over only now.
    return replace(policy, reference=replace(policy.reference, sha256=sources.sha256())), problems


def _located(entry: str, error: AssayError) -> Problem:
    """An error as a problem of the file, with the line that its message may begin with."""
    match = re.match(rf"{re.escape(entry)}:(?:(\d+):)? ?(.*)", error.message, re.DOTALL)
    if match is None:
        return Problem(entry, 0, error.message, error.hint)
    return Problem(entry, int(match[1] or 0), match[2], error.hint)


def is_policy(data: bytes, name: str) -> bool:
    """Whether a YAML file is a policy of some form, as opposed to assay's own configuration."""
    from assay.policy.reading import valint

    document = strict_yaml.loads(data, name)
    return isinstance(document, dict) and (POLICY in document or valint.is_valint(document) is not None)
