"""`assay run [options] -- COMMAND`: a step behind walls and under watch, with signed evidence of what it did."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from assay.cli import flags, printing
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.api.profiling import Compared, Profiling
    from assay.api.running import Ran, Step
    from assay.guard.sandbox.interface import Plan

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_MOST = (1 << 53) - 1
"""The largest limit: a number of seconds or bytes that nobody rounds."""
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.usage = (
        "assay run [--step NAME] [--inputs PATH …] [--outputs DIR …] [--net none|HOST:PORT …|open] [options]\n"
        "                 -- COMMAND …\n"
        "       assay run [options] NOTEBOOK.ipynb"
    )
    parser.add_argument("--step", metavar="NAME", help="name of the step (default: the program's)")
    parser.add_argument("--inputs", nargs="+", action="extend", default=[], metavar="PATH", help="what it may read")
    parser.add_argument("--outputs", nargs="+", action="extend", default=[], metavar="DIR", help="where it may write")
    parser.add_argument(
        "--net",
        nargs="+",
        action="extend",
        metavar="DEST",
        help="none (default), open, or what may be reached: HOST:PORT, *.example.com:443, 10.0.0.0/8:5432",
    )
    parser.add_argument(
        "--isolate",
        choices=("auto", "strict", "off"),
        default="auto",
        help="auto: network and writes as declared; strict: reads and programs too; off: watch only",
    )
    parser.add_argument("--profile", metavar="FILE", help="compare the run with what this profile has learned")
    parser.add_argument("--enforce", action="store_true", help="allow only what the profile has learned")
    parser.add_argument("--learn", action="store_true", help="add this run to the profile, unless it is suspicious")
    parser.add_argument(
        "--profile-key", action="append", default=[], metavar="FILE", help="who may sign the profile (public key, PEM)"
    )
    group = parser.add_argument_group("what it gets")
    group.add_argument("--env", action="append", default=[], metavar="NAME[=VALUE]", help="pass a variable (globs too)")
    group.add_argument(
        "--secret", action="append", default=[], metavar="NAME=SOURCE", help="a secret from env:NAME or file:PATH"
    )
    group.add_argument("--time-limit", metavar="DURATION", help="wall time for all of it: 90s, 15m, 8h")
    group.add_argument("--cpu-limit", metavar="DURATION", help="CPU time of one process")
    group.add_argument("--memory-limit", metavar="SIZE", help="address space of one process: 8g")
    group.add_argument("--file-size-limit", metavar="SIZE", help="size of one written file")
    group.add_argument("--process-limit", type=int, metavar="N", help="processes of this user")
    group = parser.add_argument_group("how it is held and watched")
    group.add_argument("--allow-degraded", action="store_true", help="run even where not all of it can be enforced")
    group.add_argument("--allow-io-uring", action="store_true", help="let it use io_uring, which cannot be watched")
    group.add_argument("--trace", metavar="NAME", help="seccomp-unotify, ptrace or audit-hook instead of the best one")
    group.add_argument("--flow-log", metavar="FILE", help="write the network's log (VPC flow log v2; FILE.jsonl too)")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help=argparse.SUPPRESS)
    flags.signing(parser)
    flags.evidence(parser)
    flags.output(parser, file=False)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Run the step, say what happened on standard error, and end as the step did."""
    import atexit
    import gc

    gc.disable()  # loading code makes nothing but what stays; looking through it again and again is half of the start
    atexit.register(gc.freeze)  # nor is there anything to find at the very end
    try:
        return _run(parsed)
    finally:
        gc.unfreeze()
        gc.enable()


def _run(parsed: argparse.Namespace) -> int:
    from assay.api.running import run as run_step
    from assay.config import load

    with _aside(parsed.json):
        made = run_step(
            _step(parsed),
            signer_choice=flags.sign_with(parsed),
            directory=parsed.directory,
            labels=flags.labels(parsed),
            config=load(parsed.config),
            identify=parsed.identify,
            flow_log=parsed.flow_log,
            profile=_profile(parsed),
            started=lambda plan: _start(plan, quiet=parsed.quiet or not parsed.verbose),
        )
    if parsed.json:
        printing.as_json(_document(made))
    elif not parsed.quiet:
        _say(made, verbose=parsed.verbose)
    elif made.compared is not None and made.compared.severe:
        for line in _unusual(made.compared, 8, verbose=False):
            printing.note(f"assay: {line}")
    return made.exit_code


@contextmanager
def _aside(wanted: bool) -> Iterator[None]:
    """With ``--json`` standard output is the document's alone: what the step prints there goes to standard error."""
    if not wanted:
        yield
        return
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _step(parsed: argparse.Namespace) -> Step:
    from assay.api.running import Step

    if not parsed.command:
        raise UsageError("no command is named after '--'", hint="assay run --outputs out -- python train.py")
    return Step(
        tuple(parsed.command),
        parsed.step or "",
        tuple(parsed.inputs),
        tuple(parsed.outputs),
        _network(parsed.net),
        parsed.isolate,
        tuple(parsed.env),
        dict(_secret(text) for text in parsed.secret),
        quantity(parsed.time_limit, _SECONDS, "--time-limit"),
        quantity(parsed.cpu_limit, _SECONDS, "--cpu-limit"),
        quantity(parsed.memory_limit, _UNITS, "--memory-limit"),
        parsed.process_limit,
        quantity(parsed.file_size_limit, _UNITS, "--file-size-limit"),
        parsed.allow_io_uring,
        parsed.allow_degraded,
        parsed.trace,
    )


def _profile(parsed: argparse.Namespace) -> Profiling | None:
    if parsed.profile is None:
        if parsed.learn or parsed.enforce or parsed.profile_key:
            raise UsageError("--learn, --enforce and --profile-key need the profile", hint="--profile train.yaml")
        return None
    from assay.api.profiling import Profiling

    return Profiling(parsed.profile, parsed.learn, parsed.enforce, tuple(parsed.profile_key))


def _network(given: list[str] | None) -> tuple[str, ...] | None:
    if not given or given == ["none"]:
        return ()
    if given == ["open"]:
        return None
    if "none" in given or "open" in given:
        raise UsageError("--net none and --net open stand alone")
    return tuple(given)


def _secret(text: str) -> tuple[str, str]:
    name, mark, source = text.partition("=")
    if not mark or not name:
        raise UsageError(f"--secret {name!r} is not NAME=SOURCE", hint="--secret TOKEN=env:CI_TOKEN")
    return name, source


def quantity(text: str | None, units: dict[str, int], flag: str) -> int | None:
    """A number with a unit, in the smallest one, of what a limit can hold. Raises `UsageError`."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,12})([a-z]?)(?:i?b)?", text.strip().lower())
    if match is None or match[2] not in units:
        raise UsageError(f"{flag} {text!r} is not a number with one of the units {', '.join(filter(None, units))}")
    number = int(match[1]) * units[match[2]]
    if number > _MOST:
        raise UsageError(f"{flag} {text!r} is more than any limit can be", hint="leave it out for no limit")
    return number


def _start(plan: Plan, *, quiet: bool) -> None:
    import gc

    gc.freeze()
    gc.enable()  # from here on it is as long as the step is
    printing.note(
        f"assay: tier {plan.tier}: watched by {plan.trace}; files held by {plan.files}, network by {plan.network}",
        quiet=quiet,
    )


def _say(made: Ran, *, verbose: bool) -> None:
    """On standard error: standard output is the step's."""
    files, trace = made.files, made.trace
    lines = [
        f"{made.step}: {made.outcome}"
        + (f" (exit code {trace.exit_code})" if trace.exit_code else "")
        + (f" ({trace.interrupted})" if trace.interrupted else ""),
        f"  read      {len(files.materials) + sum(item.files for item in files.aggregates):,} files"
        f", {sum(item.used for item in files.inputs):,} of them declared inputs",
        f"  wrote     {printing.counted(len(files.products), 'file')}",
        f"  network   {_contacts(made)}",
        f"  cost      {trace.usage.wall:.1f} s, CPU {trace.usage.user + trace.usage.system:.1f} s, "
        f"memory {trace.usage.memory / (1 << 20):,.0f} MiB",
        f"  evidence  {', '.join(digest[:12] for digest in made.entries.values())} in {printing.place(made.store)}"
        f", signed by {made.by}",
    ]
    lines += [f"  refused   {text}" for text in _refusals(made, 50 if verbose else 5)]
    lines += [f"  warning   {text}" for text in made.files.warnings[: 50 if verbose else 5]]
    if made.compared is not None:
        lines += _unusual(made.compared, 50 if verbose else 8, verbose=verbose)
    lines += [f"  alerts    {text}" for text in made.notes]
    lines += [f"  not seen  {gap.message}" for gap in (*made.plan.gaps, *trace.gaps) if verbose]
    for line in lines:
        printing.note(f"assay: {line}")


def _unusual(compared: Compared, most: int, *, verbose: bool) -> list[str]:
    """The findings, worst first; what nobody has to look at only when everything is asked for."""
    from assay.collect.behaviour.compare import alarms

    shown = compared.findings if verbose else alarms(compared.findings)
    lines = [f"  {item.severity.value:<9} {item.title}: {item.message}" for item in shown[:most]]
    if len(shown) > most:
        lines.append(f"  unusual   … and {len(shown) - most:,} more (--verbose, --json)")
    if not shown:
        earlier = f"nothing unusual, compared with {printing.counted(compared.runs, 'earlier run')}"
        lines.append(
            f"  profile   {earlier if compared.runs else 'the first run: there is nothing to compare it with'}"
        )
    return lines + ([f"  profile   {compared.learned}"] if compared.learned else [])


def _contacts(made: Ran) -> str:
    from assay.collect.step.statements import contacts

    found = contacts(made.trace.contacts)
    if not found:
        return "nothing was tried"
    refused = sum(item["decision"] == "denied" for item in found)
    return f"{printing.counted(len(found), 'destination')}, {refused:,} refused"


def _refusals(made: Ran, most: int) -> list[str]:
    from assay.collect.step.statements import contacts
    from assay.guard.sandbox.refusals import EXPLAINED

    found = [
        f"{item['call']} {item.get('host') or item.get('address') or item['family']}"
        + (f":{item['port']}" if item.get("port") is not None else "")
        + (f" ({item['rule']})" if item.get("rule") else "")
        for item in contacts(made.trace.contacts)
        if item["decision"] == "denied"
    ]
    found += [f"{item.call} {item.detail}" for item in made.trace.calls if item.decision == "denied"]
    found += [
        use.path.decode("utf-8", "backslashreplace") + (f": {EXPLAINED[use.rule]}" if use.rule else "")
        for use in made.trace.files.values()
        if use.denied
    ]
    found = list(dict.fromkeys(found))
    return found[:most] + ([f"… and {len(found) - most:,} more"] if len(found) > most else [])


def _document(made: Ran) -> dict[str, object]:
    from assay.collect.step.statements import contacts, costs

    return {
        "step": made.step,
        "outcome": made.outcome,
        "exitCode": made.exit_code,
        "tier": made.plan.tier,
        "monitor": made.trace.mechanism,
        "enforced": {"files": made.plan.files, "network": made.plan.network, "products": made.plan.products},
        "gaps": [{"name": gap.name, "message": gap.message} for gap in (*made.plan.gaps, *made.trace.gaps)],
        "inputs": [{"name": item.name, "sha256": item.contents, "read": item.used} for item in made.files.inputs],
        "outputs": [{"name": item.name, "sha256": item.contents, "wrote": item.used} for item in made.files.outputs],
        "materials": len(made.files.materials) + sum(item.files for item in made.files.aggregates),
        "products": [{"name": item.name, "sha256": item.sha256} for item in made.files.products],
        "network": contacts(made.trace.contacts),
        "refused": _refusals(made, 1000),
        "warnings": list(made.files.warnings),
        "profile": None if made.compared is None else _compared(made.compared),
        "costs": costs(made.trace),
        "evidence": dict(made.entries),
        "store": made.store,
        "by": made.by,
    }


def _compared(compared: Compared) -> dict[str, object]:
    return {
        "runs": compared.runs,
        "sha256": compared.sha256,
        "severe": compared.severe,
        "learned": compared.learned,
        "findings": [
            {
                "key": item.key,
                "severity": item.severity,
                "title": item.title,
                "message": item.message,
                "mitigation": item.mitigation,
                "atlas": list(item.frameworks.get("atlas", ())),
                "details": item.details,
            }
            for item in compared.findings
        ],
    }
