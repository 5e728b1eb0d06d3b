"""`assay profile show|accept|diff|enforce`: what a step usually does, and what people say to it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from assay.cli import flags, printing
from assay.errors import AssayError

if TYPE_CHECKING:
    from assay.alerts.finding import Finding
    from assay.collect.behaviour.model import Profile

_SHOWN = 15
"""Entries of one kind that are shown without --verbose."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    look = _reader(actions, "show", "what a profile has learned, and who answers for it", show)
    look.add_argument("-v", "--verbose", action="store_true", help="print all entries")
    differ = _reader(actions, "diff", "what is new in the run that waits for acceptance, or in another profile", diff)
    differ.add_argument("other", nargs="?", metavar="OTHER", help="another profile (default: the waiting run)")
    rules = _reader(actions, "enforce", "the sandbox's rules that a profile comes to, here and now", enforce)
    rules.add_argument("--inputs", nargs="+", action="extend", default=[], metavar="PATH", help="as for 'assay run'")
    rules.add_argument("--outputs", nargs="+", action="extend", default=[], metavar="DIR", help="as for 'assay run'")
    rules.add_argument("--program", default="python3", metavar="NAME", help="whose installation $ENV is")
    take = actions.add_parser("accept", help="learn the run that waits, or sign a profile that people have changed")
    take.add_argument("profile", metavar="FILE")
    take.add_argument("--by", required=True, metavar="NAME", help="which person answers for it")
    take.add_argument("--reason", required=True, metavar="TEXT", help="why it is right; both are signed")
    take.add_argument("--run", dest="waiting", metavar="FILE", help="another run than the one that waits beside it")
    _trusting(take)
    flags.signing(take)
    take.add_argument("-c", "--config", metavar="FILE", help="configuration instead of assay.yaml")
    flags.output(take, file=False)
    take.set_defaults(run=accept)


def _reader(actions: Any, name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text)
    parser.add_argument("profile", metavar="FILE")
    _trusting(parser)
    parser.add_argument("-c", "--config", metavar="FILE", help="configuration instead of assay.yaml")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    parser.set_defaults(run=run)
    return parser


def _trusting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profile-key", action="append", default=[], metavar="FILE", help="who may sign profiles (public key, PEM)"
    )


def show(parsed: argparse.Namespace) -> int:
    """Show: also a profile that does not count, but then it says why, and the exit code is the reason's."""
    from assay.api.profile_files import open_profile
    from assay.collect.behaviour import document
    from assay.config import load
    from assay.files import read_file

    problem: AssayError | None = None
    state = by = None
    try:
        opened = open_profile(parsed.profile, keys=parsed.profile_key, config=load(parsed.config))
        profile, state, by = opened.profile, opened.state, opened.by
    except AssayError as error:
        problem = error
        profile = document.load(read_file(parsed.profile, document.MAX_BYTES), parsed.profile)
    if parsed.json:
        made = _document(profile)
        said = None if state is None else {"action": state.action, "by": state.by, "reason": state.reason}
        printing.as_json({**made, "signedBy": by, "state": said, "problem": problem.message if problem else None})
        return problem.exit_code if problem else 0
    printing.line(f"{profile.step}: {profile.runs} runs, {len(profile.facts):,} facts")
    if state is not None:
        accepted = f" {state.action} by {state.by}: {state.reason}" if state.by else f" {state.action}"
        printing.line(f"signed by {by};{accepted}")
    _show_facts(profile, verbose=parsed.verbose)
    _show_numbers(profile)
    if problem is not None:
        printing.note(f"assay: {problem}")
    return problem.exit_code if problem else 0


def _show_facts(profile: Profile, *, verbose: bool) -> None:
    from assay.collect.behaviour.interface import Kind

    for kind in Kind:
        entries = sorted((fact.text, known) for fact, known in profile.facts.items() if fact.kind is kind)
        if not entries:
            continue
        printing.line(f"\n{kind.value} ({len(entries):,})")
        for text, known in entries if verbose else entries[:_SHOWN]:
            more = f"  {known.sha256[-1][:12]}" if known.sha256 else ""
            more += "  only ever refused" if known.refused else ""
            printing.line(f"  {known.runs:>4}  {text}{more}")
        if len(entries) > _SHOWN and not verbose:
            printing.line(f"        … and {len(entries) - _SHOWN:,} more (--verbose)")


def _show_numbers(profile: Profile) -> None:
    from assay.collect.behaviour.model import centre

    if profile.numbers:
        printing.line(f"\n{'numbers':<16}{'median':>16}{'MAD':>14}{'runs':>6}")
    for name, values in sorted(profile.numbers.items()):
        if values:
            middle, deviation = centre(values)
            printing.line(f"  {name:<14}{middle:>16,.5g}{deviation:>14,.4g}{len(values):>6}")


def _document(profile: Profile) -> dict[str, object]:
    facts: dict[str, dict[str, object]] = {}
    for fact, known in sorted(profile.facts.items()):
        entry = {"runs": known.runs, "sha256": list(known.sha256), "refused": known.refused}
        facts.setdefault(fact.kind.value, {})[fact.text] = entry
    return {
        "step": profile.step,
        "pipeline": profile.pipeline,
        "image": profile.image,
        "runs": profile.runs,
        "facts": facts,
        "numbers": {name: list(values) for name, values in profile.numbers.items()},
    }


def diff(parsed: argparse.Namespace) -> int:
    """Diff: 0 when nothing is new, else 1."""
    from assay.api.profiling import difference
    from assay.config import load

    found = difference(parsed.profile, parsed.other, keys=parsed.profile_key, config=load(parsed.config))
    if parsed.json:
        words = {"+": "new", "-": "missing", "~": "changed"}
        printing.as_json([{"change": words[sign], "kind": kind, "fact": text} for sign, kind, text in found])
    else:
        for sign, kind, text in found:
            printing.line(printing.coloured(f"{sign} {kind:<14}{text}", {"+": "green", "-": "red"}.get(sign, "yellow")))
        if not found:
            printing.line("no difference")
    return 1 if found else 0


def accept(parsed: argparse.Namespace) -> int:
    """Accept."""
    from assay.api.profiling import accept as take
    from assay.config import load

    made = take(
        parsed.profile,
        by=parsed.by,
        reason=parsed.reason,
        run=parsed.waiting,
        keys=parsed.profile_key,
        signer_choice=flags.sign_with(parsed),
        config=load(parsed.config),
    )
    if parsed.json:
        accepted = [item.key for item in made.findings]
        printing.as_json({"profile": made.path, "runs": made.runs, "facts": made.facts, "accepted": accepted})
    elif not parsed.quiet:
        for item in _worth(made.findings, parsed.verbose):
            printing.line(f"accepted  {item.severity.value:<9} {item.title}: {item.message}")
        place = printing.place(os.path.abspath(made.path))
        printing.line(f"{place}: {made.runs} runs, {made.facts:,} facts, signed by {made.by}")
    return 0


def _worth(findings: Any, verbose: bool) -> list[Finding]:
    from assay.collect.behaviour.compare import alarms

    return list(findings) if verbose else alarms(findings)


def enforce(parsed: argparse.Namespace) -> int:
    """Enforce: prints what `assay run --enforce` would put up; changes nothing."""
    from assay.api.enforcing import needs
    from assay.api.profile_files import open_profile
    from assay.api.steps import installation
    from assay.config import load
    from assay.guard.sandbox.interface import Wanted

    profile = open_profile(parsed.profile, keys=parsed.profile_key, config=load(parsed.config)).profile
    wanted = Wanted(
        read=tuple(os.path.realpath(path) for path in parsed.inputs),
        write=tuple(os.path.realpath(path) for path in parsed.outputs),
        installation=installation(parsed.program),
        directory=os.path.realpath(os.getcwd()),
    )
    made = needs(profile, wanted)
    rules = {
        "read": sorted(made.read),
        "write": sorted(made.write),
        "execute": sorted(made.execute),
        "network": sorted(map(str, made.network)),
    }
    if parsed.json:
        printing.as_json({**rules, "leftOut": made.left_out})
        return 0
    for name, entries in rules.items():
        for entry in entries or ["nothing"]:
            printing.line(f"{name:<8} {printing.place(entry) if entry.startswith('/') else entry}")
    for text in made.left_out:
        printing.note(f"left out: {text}")
    return 0
