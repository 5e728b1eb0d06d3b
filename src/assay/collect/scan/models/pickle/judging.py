"""From the facts about a program to findings: names by the rules, structure by what no honest pickler ever writes.

Default deny: whatever the rules do not call safe is a finding, and so is a program that was not read to its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from assay.collect.scan.models.interface import Finding, Rules, Severity, Tier
from assay.collect.scan.models.pickle import inside_torch
from assay.collect.scan.models.pickle.program import Program, Use
from assay.collect.scan.models.pickle.show import clean

EXECUTES = ("AML.T0010.003", "AML.T0011.000", "AML.T0018.002")
"""Supply chain compromise through a model; unsafe AI artifacts; embedded malware."""

SHELL = (*EXECUTES, "AML.T0050")
"""The same, through a command or script interpreter."""

EVADES = (*EXECUTES, "AML.T0107")
"""The same, made to be overlooked: exploitation for defence evasion."""

DENIES = ("AML.T0010.003", "AML.T0029")
"""A model that exhausts whoever loads it."""

_SHELLS = frozenset(
    ("os", "posix", "nt", "subprocess", "pty", "commands", "popen2", "runpy", "code", "codeop", "shlex", "platform")
)
_EVALUATES = frozenset(("eval", "exec", "execfile", "compile", "__import__"))

_DO_NOT = "Do not load it. Get the model from its publisher as safetensors or ONNX, and verify its attestation."
_LOOK = (
    "Load it only if you trust its publisher; prefer safetensors or ONNX. "
    "If the name only builds data, allow it: assay scan allow."
)
_AGAIN = "Do not load it. Fetch the file again; if it stays like this, it was damaged or made to be so."


@dataclass(frozen=True, slots=True)
class Structure:
    """What a flag means."""

    tier: Tier
    """What the program is at best."""
    why: str
    """One sentence; the flag's text follows it."""
    atlas: tuple[str, ...] = EVADES
    """ATLAS techniques."""


_M, _U = Tier.MALICIOUS, Tier.UNKNOWN

STRUCTURE: dict[str, Structure] = {
    "global-changed": Structure(_M, "loading changes a module, class or function itself, not an instance of it"),
    "made-class-changed": Structure(_U, "loading changes a class that the pickle makes itself"),
    "computed-name": Structure(_M, "the name of what is imported is put together while the pickle runs"),
    "computed-arguments": Structure(_M, "the arguments of a call are put together by another call"),
    "computed-class": Structure(_U, "an instance is made of a class that a call returns"),
    "result-called": Structure(_M, "what a call returns is called in turn"),
    "call-without-reduce": Structure(_M, "a method that the pickle itself put on an object is called by the unpickler"),
    "dunder-set": Structure(_M, "a special attribute of an instance is set"),
    "method-shadowed": Structure(_U, "something that can be called is put in the place of a method"),
    "state-runs": Structure(_M, "the class runs this text while it is filled, and no library writes such"),
    "escape": Structure(_M, "an attribute is asked for that leads from an instance to the interpreter"),
    "bound-method": Structure(_U, "a method of an instance is used as a value"),
    "extension": Structure(_U, "a number stands for a name that only the loading process knows (copyreg extension)"),
    "persistent-id": Structure(_U, "an object is asked for that the loader has to supply by itself (persistent id)"),
    "program-given": Structure(_M, "a function that nobody has looked at is given a program", EXECUTES),
    "program-named": Structure(Tier.CODE, "a function that nobody has looked at is given a program's path", EXECUTES),
    "file-written": Structure(_M, "a function that nobody has looked at is told to open a file for writing", EXECUTES),
    "exhausts": Structure(_M, "a call takes all memory and makes nothing of use", DENIES),
    "memory": Structure(_M, "loading it takes far more memory than what an honest pickle of its size makes", DENIES),
    "out-of-band": Structure(_U, "a buffer is asked for that is not in the file", EXECUTES),
    "frame-straddled": Structure(_M, "its frames make loaders read different programs: no pickler writes such"),
    "read-modes": Structure(_M, "pickle.load, pickle.loads and readers of archives run different programs"),
    "behind-stop": Structure(_M, "bytes are hidden behind the end of the program, where only some loaders see them"),
    "archive-inside": Structure(_U, "a byte string holds an archive, which a loader that it is given to would read"),
    "inside-limit": Structure(_U, "more byte strings hold programs than were looked into", EXECUTES),
}
"""By flag. A rule's id is ``pickle/`` and the flag."""

GIVEN = frozenset(("program-given", "program-named", "file-written"))
"""Flags of arguments, which say nothing where the function was looked at."""

_SEVERITY = {
    Tier.MALICIOUS: Severity.CRITICAL,
    Tier.CODE: Severity.HIGH,
    Tier.UNREADABLE: Severity.HIGH,
    Tier.UNKNOWN: Severity.MEDIUM,
}

_VERBS = {
    "call": "calls",
    "new": "makes an instance of",
    "build": "fills an instance of",
    "fill": "fills an instance of",
    "reference": "names",
}

MOST = 500
"""Findings of one program."""


def judge(program: Program, rules: Rules) -> Iterator[Finding]:
    """The findings, worst first among the names. Nothing for a program that is safe."""
    yield from _findings(program, rules, None, "")


def unopened(begin: int, end: int) -> Iterator[Finding]:
    """An archive in a byte string that nobody looks into."""
    known = STRUCTURE["archive-inside"]
    yield Finding(
        "pickle/archive-inside", known.tier, _SEVERITY[known.tier], f"{known.why}: {end - begin:,} bytes",
        offset=begin, atlas=known.atlas, mitigation=_LOOK,
    )  # fmt: skip


def _findings(program: Program, rules: Rules, place: int | None, within: str) -> Iterator[Finding]:
    found = (*_names(program, rules, within), *_structure(program, rules, within))
    for finding in sorted(found, key=lambda item: -item.tier.rank)[:MOST]:  # a flood must not hide what is worse
        if place is None:
            yield finding
        else:
            offset = place + (finding.offset or 0)
            yield replace(finding, offset=offset)
    for inner in program.nested:
        where = inner.offset if inner.offset is not None else program.start
        yield from _findings(inner.program, rules, where if place is None else place, "in a byte string, ")


def _names(program: Program, rules: Rules, within: str) -> list[Finding]:
    """One finding for each global that is not safe, by its worst use."""
    worst: dict[tuple[str, str], tuple[Tier, str, Use]] = {}
    for use in program.uses:
        if program.resolved and use.name == "getattr" and use.module in ("builtins", "__builtin__"):
            continue  # each of its results is judged by its own name
        if program.loaded and (use.module, use.name) == inside_torch.CALL and use.use in ("reference", "call"):
            continue  # what it loads is judged as a program of its own
        tier, rule = rules.judge(use.module, use.name, use.use)
        if tier.rank <= Tier.SAFE.rank:
            continue
        key = (use.module, use.name)
        if key not in worst or _order(tier, use) > _order(worst[key][0], worst[key][2]):
            worst[key] = (tier, rule, use)
    found = sorted(worst.values(), key=lambda item: -item[0].rank)
    return [_named(tier, rule, use, within) for tier, rule, use in found]


def _order(tier: Tier, use: Use) -> tuple[int, bool]:
    return tier.rank, use.use == "call"


def _named(tier: Tier, rule: str, use: Use, within: str) -> Finding:
    name = f"{use.module}.{use.name}"
    what = {
        Tier.MALICIOUS: "which no model needs and which can run whatever it is told to",
        Tier.CODE: "which carries code in the file itself and runs it",
    }.get(tier, "which nobody has looked at")
    shell = use.module.split(".")[0] in _SHELLS or use.name in _EVALUATES
    return Finding(
        rule,
        tier,
        _SEVERITY.get(tier, Severity.MEDIUM),
        f"{within}loading it {_VERBS.get(use.use, 'uses')} {name}, {what}",
        offset=use.offset,
        call=use.text,
        atlas=SHELL if shell and tier is Tier.MALICIOUS else EXECUTES,
        mitigation=_DO_NOT if tier is Tier.MALICIOUS else _LOOK,
    )


def _structure(program: Program, rules: Rules, within: str) -> Iterator[Finding]:
    for flag in program.flags:
        known = STRUCTURE.get(flag.rule) or Structure(Tier.UNKNOWN, "its structure is not understood")
        tier = known.tier
        judged = None if flag.by is None else rules.judge(*flag.by, "call")[0]
        if flag.rule in GIVEN and judged is Tier.SAFE:
            continue  # a text like any other, to what only keeps it
        if judged is Tier.CODE:
            tier = Tier.CODE  # code by value, openly: what such a function makes is called and changed
        yield Finding(
            f"pickle/{flag.rule}",
            tier,
            _SEVERITY.get(tier, Severity.MEDIUM),
            f"{within}{known.why}: {clean(flag.text, 300)}",
            offset=flag.offset,
            call=flag.text if flag.rule in ("result-called", "call-without-reduce", "global-changed") else None,
            atlas=known.atlas,
            mitigation=_DO_NOT if tier is Tier.MALICIOUS else _LOOK,
        )
    if not program.complete:
        yield Finding(
            "pickle/incomplete",
            Tier.UNREADABLE,
            Severity.HIGH,
            f"{within}the program could not be read to its end: {clean(program.abort or 'unknown', 300)}",
            atlas=DENIES if "memory" in (program.abort or "") else EXECUTES,
            mitigation=_AGAIN,
        )
