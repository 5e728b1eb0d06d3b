"""`assay verify TARGET`."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from assay.cli import deciding, flags, printing
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.api.verifying import Verification

SHOWN = 20
"""Names of each kind that are printed; all of them with --verbose or --json."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    flags.target(parser)
    parser.add_argument("--signature", metavar="FILE", help="a signature or attestation file, instead of the store")
    parser.add_argument(
        "-p", "--policy", metavar="POLICY", help="decide by it: a file, builtin:NAME, or dir:, git:, oci: (a bundle)"
    )
    parser.add_argument("--no-policy", action="store_true", help="do not ask the policy that assay.yaml names")
    flags.trusting(parser)
    flags.reading(parser)
    flags.deciding(parser)
    parser.add_argument(
        "-o", "--output", choices=("table", *deciding.FORMATS), default="table", help="the answer's form"
    )
    parser.add_argument("--attest", action="store_true", help="sign the policy's verdict and keep it as evidence")
    parser.add_argument("--attest-key", metavar="FILE", help="private key for --attest instead of the default signer")
    parser.add_argument("--no-alerts", action="store_true", help="tell nobody in assay.yaml's alerts")
    group = parser.add_argument_group("how strictly")
    group.add_argument("--strict", action="store_true", help="every warning is a rejection")
    group.add_argument("--require-sha256", action="store_true", help="do not accept BLAKE3 in place of SHA-256")
    group.add_argument(
        "--trust-cache",
        action="store_true",
        help="take digests of files with unchanged time stamps from the cache",
    )
    group.add_argument(
        "--range", metavar="START-END", help="only these bytes (end exclusive) of the one file in --path"
    )
    flags.evidence(parser)
    flags.output(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Verify."""
    decides, policy, config = deciding.wanted(parsed)
    if decides:
        return deciding.run(parsed, policy, config)
    if parsed.attest or parsed.output not in ("table", "json"):
        raise UsageError("--attest and this output are for the verdict of a policy", hint="name one with -p")
    from assay.api.verifying import verify

    answer = verify(
        parsed.target,
        trust=flags.trust_in(parsed),
        signature=parsed.signature,
        directory=parsed.directory,
        options=flags.options(parsed, "verifying"),
        byte_range=_range(parsed.range),
        require_sha256=parsed.require_sha256,
        strict=parsed.strict,
        config=config,
    )
    if parsed.output_file:
        import json

        text = json.dumps(answer.document(), indent=2, sort_keys=True)
        printing.document(text.encode(), parsed.output_file)
    if parsed.json or parsed.output == "json":
        printing.as_json(answer.document())
    elif not (parsed.quiet and answer.accepted):
        _print(answer, verbose=parsed.verbose)
    return answer.exit_code


def _range(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,18})-(\d{1,18})", text, re.ASCII)
    if match is None:
        raise UsageError(f"--range {text!r} is not START-END")
    return int(match[1]), int(match[2])


def _print(answer: Verification, *, verbose: bool) -> None:
    found = answer.findings
    colour = {"accepted": "green", "rejected": "red", "undecided": "yellow"}[found.verdict]
    part = f" (a part of it: {', '.join(found.part)})" if found.part else ""
    print(printing.coloured(found.verdict, colour), end=" ")
    printing.line(f"{answer.reference}{part}: {found.reason}")
    first = found.attestations[0] if found.attestations else None
    if first is not None and first.proof is not None:
        proof = first.proof
        issuer = f", issuer {proof.issuer}" if proof.issuer else ""
        printing.line(f"  signed by  {proof.method} {proof.signer}{issuer} ({proof.algorithm})")
        when = f"{proof.time:%Y-%m-%dT%H:%M:%SZ}, proved by {proof.time_source}" if proof.time else None
        said = f"not proved; the document says {first.said['time']}" if first.said.get("time") else "not proved"
        printing.line(f"  time       {when or said}")
        printing.line(f"  statement  {first.predicate_type} in {first.source}")
    if found.algorithm is not None:
        cached = (
            f", {answer.from_cache:,} from the cache, {answer.reread:,} re-read"
            if answer.from_cache is not None
            else ""
        )
        printing.line(
            f"  compared   {found.files:,} file(s), {printing.size(found.size)}, by {found.algorithm}{cached}"
        )
    shown = None if verbose else SHOWN
    for kind, names in (
        ("modified", found.difference.modified),
        ("missing", found.difference.missing),
        ("not signed", found.difference.extra),
    ):
        for name in names[:shown]:
            printing.line(f"  {kind + ':':12}{name}")
        if shown is not None and len(names) > shown:
            printing.line(f"  … and {len(names) - shown:,} more {kind} (--verbose lists them)")
    for warning in found.warnings:
        printing.line(f"  warning: {warning}")
    others = [item for item in found.attestations if item is not first]
    for item in others if verbose else []:
        state = "holds too" if item.matched else item.problem or "is about other contents"
        printing.line(f"  also: {item.predicate_type} in {item.source}: {state}")
    if found.verdict == "undecided":
        printing.line(f"  looked in  {printing.place(answer.evidence)}")
        printing.line(
            "  make evidence with 'assay bom TARGET -o attest' or 'assay sign MODEL', or name it with --signature"
        )
