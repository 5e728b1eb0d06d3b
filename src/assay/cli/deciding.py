"""`assay verify -p POLICY`: which policy is meant, and showing what it decided."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from assay.cli import flags, printing
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.config import Config
    from assay.policy.verdict import Decision

FORMATS = ("json", "sarif", "markdown")
"""Outputs of a verdict beside the table."""


def wanted(parsed: argparse.Namespace) -> tuple[bool, str | None, Config]:
    """Whether a policy decides, the one that is named (None for that of the configuration), and the configuration.

    Configuration files of the closest product are policies: ``-c verify-license.yml`` means that one.
    """
    from assay.config import load

    if parsed.config is not None and parsed.policy is None:
        from assay.files import read_file
        from assay.policy.reading import is_policy

        if is_policy(read_file(parsed.config, 4 << 20), parsed.config):
            return True, parsed.config, load(None)
    config = load(parsed.config)
    if parsed.policy is not None and parsed.no_policy:
        raise UsageError("--policy and --no-policy exclude each other")
    decides = not parsed.no_policy and (parsed.policy is not None or config.policy is not None)
    if decides and (parsed.range or parsed.path):
        raise UsageError("a policy is about the whole target", hint="verify only this part of it with --no-policy")
    return decides, parsed.policy, config


def run(parsed: argparse.Namespace, name: str | None, config: Config) -> int:
    """Decide, show it, tell whom it concerns, and keep it when asked to."""
    from assay.api.deciding import decide

    decision = decide(parsed.target, name, flags.how_to_decide(parsed, "verifying"), config=config)
    if parsed.output_file:
        printing.document(rendered(decision, "json" if parsed.output == "table" else parsed.output), parsed.output_file)
    if parsed.json or parsed.output != "table":
        if not parsed.output_file:
            printing.document(rendered(decision, "json" if parsed.json else parsed.output), None)
    elif not (parsed.quiet and decision.accepted):
        show(decision, verbose=parsed.verbose)
    if config.alerts and not parsed.no_alerts:
        from assay.api.announcing import announce

        for warning in announce(decision, config):
            printing.note(f"assay: {warning}")
    if parsed.attest:
        from assay.api.signers import SignWith
        from assay.api.verdicts import attest_verdict

        kept = attest_verdict(decision, SignWith(parsed.attest_key), directory=parsed.directory, config=config)
        printing.note(f"signed the verdict as {kept.by}: {', '.join(kept.entries)}", quiet=parsed.quiet)
    if parsed.strict and decision.accepted and decision.warnings:
        printing.note(f"assay: strict: {decision.warnings[0]}")
        return 1
    return decision.exit_code


def show(decision: Decision, *, verbose: bool) -> None:
    """The decision as a table."""
    import os
    import shutil

    from assay.policy.documents import table

    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    width = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100
    print(table.render(decision, verbose=verbose, width=max(40, min(width, 120)), colour=colour))


def rendered(decision: Decision, form: str) -> bytes:
    """The decision as a document."""
    import json

    if form == "markdown":
        from assay.policy.documents import markdown

        return markdown.render(decision).encode()
    if form == "sarif":
        from assay.policy.documents import sarif

        return json.dumps(sarif.render(decision), indent=2, ensure_ascii=True).encode()
    from assay.policy.documents import as_json

    return json.dumps(as_json.render(decision), indent=2, sort_keys=True, ensure_ascii=True).encode()
