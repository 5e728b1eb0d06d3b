"""`assay sign MODEL`."""

from __future__ import annotations

import argparse

from assay.cli import flags, printing


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    flags.target(parser, "MODEL")
    parser.add_argument("--signature", metavar="FILE", help="write the signature here (default: MODEL.sig beside it)")
    parser.add_argument("--no-store", action="store_true", help="do not keep it in the evidence store")
    flags.making(parser, run)


def run(parsed: argparse.Namespace) -> int:
    """Sign."""
    from assay.api.signing import sign

    made = sign(
        parsed.target,
        signature=parsed.signature or parsed.output_file,
        store=not parsed.no_store,
        **flags.made_with(parsed, "signing"),
    )
    if parsed.json:
        printing.as_json(summary(made))
    elif not parsed.quiet:
        printing.line(f"signed {made.reference}: {made.files:,} file(s), {printing.size(made.size)}")
        printing.line(f"  by        {made.by}")
        printing.line(f"  contents  sha256:{made.contents}")
        if made.path:
            printing.line(f"  signature {printing.place(made.path)}")
        if made.entry and made.store:
            printing.line(f"  evidence  {made.entry[:12]} in {printing.place(made.store)}")
        if made.ignored:
            printing.line(f"  not covered: {', '.join(made.ignored[:5])}{' …' if len(made.ignored) > 5 else ''}")
    return 0


def summary(made: object) -> dict[str, object]:
    """A `Signed` as JSON."""
    from dataclasses import fields

    skip = {"bundle"}
    names = [field.name for field in fields(made) if field.name not in skip]  # type: ignore[arg-type]
    return {name: list(value) if isinstance(value := getattr(made, name), tuple) else value for name in names}
