"""What the jobs of all engines do; the tests look at the files that they leave.

A job is a program of its own, as a user's is: it is started with the folder of the data and a folder for its results.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assay.collect.profile.accumulate import Accumulator
from assay.collect.profile.engines.running import profile, specification
from assay.collect.profile.interface import Custom, Spec
from assay.collect.profile.partial import decode
from assay.errors import AssayError

FUNCTION = Custom("picky", function="jobs.functions:picky")


def work(out: Path, variants: dict[str, Any], empty: Any, nested: Any) -> None:
    """Profile one data set in several forms with one spec, then what goes wrong."""
    spec = decode((out / "spec.state").read_bytes()).spec
    for name, data in variants.items():
        (out / f"{name}.out").write_bytes(profile(data, spec))
    some = next(iter(variants.values()))
    own = specification(some, seed=11, customs=[Custom("ratio", sql="whole / 7")])
    (out / "own-spec.state").write_bytes(Accumulator(own).state())
    (out / "own.out").write_bytes(profile(some, own))
    (out / "empty.out").write_bytes(profile(empty, spec))
    said = {
        "no rows": told(lambda: specification(empty)),
        "two names": told(lambda: profile(nested, spec)),
        "not allowed": told(lambda: profile(some, with_function(spec))),
        "in a task": told(lambda: profile(variants["one"], with_function(spec), customs=[FUNCTION])),
    }
    (out / "errors.json").write_text(json.dumps(said))


def with_function(spec: Spec) -> Spec:
    """The same with a statistic that is the user's own code."""
    return Spec(spec.columns, spec.seed, spec.exact, (FUNCTION,))


def told(what: Callable[[], object]) -> list[str]:
    """The class and the sentence of the error that this raises."""
    try:
        what()
    except AssayError as error:
        return [type(error).__name__, error.message]
    return ["nothing", ""]
