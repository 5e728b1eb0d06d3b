"""`assay packages lock SOURCE`, `assay packages vet LOCK`, `assay packages wheelhouse LOCK -O DIR`."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from assay.cli import flags, printing
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.api.package_locking import Demands, LockMade
    from assay.api.packages import Vetted
    from assay.collect.packages.findings import Finding

_WORDS = {0: ("accepted", "green"), 1: ("rejected", "red"), 3: ("undecided", "yellow")}
_SHOWN = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def command(name: str, summary: str, source: str, run: Any) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        made.add_argument("source", metavar=source)
        _demands(made)
        made.set_defaults(run=run)
        return made

    one = command("lock", "resolve with your uv or pip, and pin every file by its hash", "REQUIREMENTS", _lock)
    one.add_argument("--with", dest="tool", choices=("auto", "uv", "pip"), default="auto", help="who resolves")
    one.add_argument("--extra", action="append", default=[], metavar="NAME", help="an extra of pyproject.toml")
    one.add_argument(
        "--allow-sdist", action="append", default=[], metavar="NAME", help="this may be a program to build (repeatable)"
    )
    flags.output(one)

    two = command("vet", "look at everything that a lock pins", "LOCK", _vet)
    two.add_argument("--wheelhouse", metavar="DIR", help="the wheels are here: download nothing")
    two.add_argument("--offline", action="store_true", help="ask no index; what only it knows stays undecided")
    two.add_argument("-o", "--output", choices=("table", "json", "attest"), default="table", help="the answer's form")
    three = command("wheelhouse", "download what a lock pins into a signed folder", "LOCK", _wheelhouse)
    for made in (two, three):
        made.add_argument(
            "--osv", metavar="SOURCE", help="known vulnerabilities: an OSV export (.zip, folder) or server"
        )
        made.add_argument("-p", "--policy", metavar="POLICY", help="which decides about the evidence that is made")
        made.add_argument(
            "--allow-startup",
            action="append",
            default=[],
            metavar="NAME",
            help="this may run code whenever Python starts (repeatable)",
        )
        flags.signing(made)
        flags.evidence(made)
        flags.output(made)


def _demands(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is demanded, and what is accepted")
    group.add_argument("--python", metavar="VERSION", help="for this interpreter, as 3.12 (default: the running one)")
    group.add_argument(
        "--min-age", default="7d", metavar="TIME", help="how long a file must have been on the index (7d; 0: any age)"
    )
    group.add_argument(
        "--allow-unknown-age",
        action="append",
        default=[],
        metavar="NAME",
        help="the index need not tell its age; :all: for every package (repeatable)",
    )
    group.add_argument(
        "--from",
        dest="places",
        action="append",
        default=[],
        metavar="NAME=PLACE",
        help="of several indexes only this one (host and path) may serve it (repeatable)",
    )


def _demanded(parsed: argparse.Namespace) -> Demands:
    import re

    from assay.api.package_locking import Demands
    from assay.policy import durations

    if parsed.python is not None and not re.fullmatch(r"3\.[0-9]{1,3}", parsed.python):
        raise UsageError(f"--python {parsed.python!r} is not a version", hint="write 3.12")
    places: dict[str, str] = {}
    for text in parsed.places:
        name, equals, place = text.partition("=")
        if not equals or not name or not place or name in places:
            raise UsageError("--from is NAME=PLACE, once for each name", hint="for example --from mine=pypi.org/simple")
        places[name] = place.rpartition("@")[2].removeprefix("https://").rstrip("/")
    age = timedelta(0) if parsed.min_age.strip() == "0" else durations.parse(parsed.min_age, "--min-age")
    return Demands(
        age,
        frozenset(parsed.allow_unknown_age),
        frozenset(getattr(parsed, "allow_sdist", ())),
        frozenset(getattr(parsed, "allow_startup", ())),
        places,
        parsed.python,
    )


def _lock(parsed: argparse.Namespace) -> int:
    from assay.api.package_locking import lock

    made = lock(parsed.source, demands=_demanded(parsed), tool=parsed.tool, extras=parsed.extra)
    if parsed.json:
        printing.as_json(_lock_document(made))
        if made.document and parsed.output_file:
            printing.document(made.document, parsed.output_file)
        return made.exit_code
    for text in made.notes:
        printing.note(f"assay: {text}", quiet=parsed.quiet)
    if made.findings:
        printing.line(f"{_coloured(made.exit_code)}: {len(made.findings):,} reason(s), and nothing was locked")
        _tell(made.findings, verbose=parsed.verbose)
        return made.exit_code
    printing.document(made.document, parsed.output_file)
    files = sum(len(package.hashes) for package in made.packages)
    where = f" in {parsed.output_file}" if parsed.output_file else ""
    printing.note(
        f"locked {len(made.packages):,} package(s), {files:,} file(s) by hash, by {made.tool}{where}",
        quiet=parsed.quiet,
    )
    return 0


def _lock_document(made: LockMade) -> dict[str, Any]:
    return {
        "verdict": _WORDS[made.exit_code][0],
        "tool": made.tool,
        "packages": [
            {"name": package.name, "version": package.version, "sha256": list(package.hashes)}
            for package in made.packages
        ],
        "findings": [finding.document() for finding in made.findings],
        "notes": list(made.notes),
    }


def _vet(parsed: argparse.Namespace) -> int:
    from assay.api.packages import vet

    made = vet(
        parsed.source,
        wheelhouse=parsed.wheelhouse,
        attest=parsed.output == "attest",
        offline=parsed.offline,
        **_made_with(parsed),
    )
    _show(
        made, parsed, f"{parsed.source}: {len(made.packages):,} package(s), {len(made.wheels):,} wheel(s) looked into"
    )
    return made.exit_code


def _wheelhouse(parsed: argparse.Namespace) -> int:
    from assay.api.packages import LOCK, wheelhouse

    if not parsed.output_file:
        raise UsageError("'assay packages wheelhouse' needs -O DIR, the folder to be made")
    output, parsed.output_file = parsed.output_file, None
    made = wheelhouse(parsed.source, output, **_made_with(parsed))
    done = f"{output}: {len(made.wheels):,} wheel(s), signed" if made.contents else "no wheelhouse was made"
    _show(made, parsed, done)
    if made.contents and not parsed.quiet and not parsed.json:
        place = printing.place(output)
        printing.line(f"  contents  sha256:{made.contents}")
        printing.line(
            f"  install   pip install --no-index --find-links {place} --require-hashes --only-binary :all: "
            f"-r {place}/{LOCK}"
        )
    return made.exit_code


def _made_with(parsed: argparse.Namespace) -> dict[str, Any]:
    from assay.config import load

    return {
        "demands": _demanded(parsed),
        "vulnerabilities": parsed.osv,
        "policy": parsed.policy,
        "signer_choice": flags.sign_with(parsed),
        "directory": parsed.directory,
        "labels": flags.labels(parsed),
        "config": load(parsed.config),
        "identify": parsed.identify,
    }


def _show(made: Vetted, parsed: argparse.Namespace, what: str) -> None:
    """The answer for people, or for machines."""
    if parsed.json or getattr(parsed, "output", "") == "json" or parsed.output_file:
        import json

        data = json.dumps(_document(made), indent=2, sort_keys=True).encode() + b"\n"
        printing.document(data, parsed.output_file)
        if not parsed.output_file:
            return
    if parsed.quiet and made.exit_code == 0:
        return
    printing.line(f"{_coloured(made.exit_code)} {what}")
    _tell(made.findings, verbose=parsed.verbose)
    for known in made.known.known if made.known else ():
        fixed = f", mended in {', '.join(known.fixed[:3])}" if known.fixed else ""
        printing.line(f"  {known.package}: {known.id}{fixed}{f': {known.summary}' if known.summary else ''}")
    if made.decision is not None:
        from assay.cli import deciding

        deciding.show(made.decision, verbose=parsed.verbose)
    for text in made.not_done:
        printing.line(f"  not done: {text}")
    for text in made.notes if parsed.verbose else ():
        printing.line(f"  {text}")
    for wheel in made.wheels if parsed.verbose else ():
        for label, names in (("native", wheel.native), ("script", wheel.scripts), ("start-up", wheel.startup)):
            for name in names:
                printing.line(f"  {wheel.filename}: {label} {name}")
    if made.by:
        printing.line(f"  by        {made.by}")


def _document(made: Vetted) -> dict[str, Any]:
    wheels = [
        {
            "file": wheel.filename,
            "sha256": wheel.sha256,
            "native": list(wheel.native),
            "scripts": list(wheel.scripts),
            "startup": list(wheel.startup),
        }
        for wheel in made.wheels
    ]
    known = made.known and [
        {"id": item.id, "aliases": list(item.aliases), "package": item.package, "fixed": list(item.fixed)}
        for item in made.known.known
    ]
    return {
        "verdict": _WORDS[made.exit_code][0],
        "packages": [package.pin for package in made.packages],
        "wheels": wheels,
        "findings": [finding.document() for finding in made.findings],
        "vulnerabilities": known,
        "policy": str(made.decision.verdict) if made.decision else None,
        "attestationsOffered": made.attested,
        "notDone": list(made.not_done),
        "notes": list(made.notes),
        "contents": made.contents,
        "evidence": list(made.entries),
    }


def _tell(findings: tuple[Finding, ...], *, verbose: bool) -> None:
    shown = findings if verbose else findings[:_SHOWN]
    for finding in shown:
        printing.line(f"  {finding.package}: {finding.text} ({finding.code})")
    if len(shown) < len(findings):
        printing.line(f"  and {len(findings) - len(shown):,} more: --verbose")


def _coloured(code: int) -> str:
    return printing.coloured(*_WORDS[code])
