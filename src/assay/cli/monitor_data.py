"""The flags that say where rows are, shared by `assay baseline` and `assay monitor check`."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.api.baselines import Data
    from assay.collect.profile.build import Progress

KINDS = ("parquet", "csv", "jsonl", "arrow", "captured")


def arguments(parser: argparse.ArgumentParser) -> None:
    """How the data are read."""
    group = parser.add_argument_group("how the data are read")
    group.add_argument("--format", choices=KINDS, help="what the files are, where their names do not say it")
    group.add_argument("--query", metavar="SQL", help="for a database (sqlite:///FILE, postgresql://…)")
    group.add_argument("--columns", metavar="A,B,…", help="names of the columns, where the data have no header")
    group.add_argument("--outputs", metavar="A,B,…", help="names of the columns of captured answers")


def data(parsed: argparse.Namespace, place: str) -> Data:
    """What the flags say."""
    from assay.api.baselines import Data
    from assay.collect.profile.sources.interface import Reading

    columns = _names(parsed.columns, "--columns")
    reading = Reading(header=not columns, columns=columns, outputs=_names(parsed.outputs, "--outputs"))
    return Data(place, parsed.format, parsed.query, reading)


def _names(text: str | None, flag: str) -> tuple[str, ...]:
    if text is None:
        return ()
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) != len(names):
        raise UsageError(f"{flag} {text!r} is no list of different names")
    return names


def progress(quiet: bool) -> Progress | None:
    """Tells on a terminal how far the rows are, once they take long enough to wonder."""
    if quiet or not sys.stderr.isatty():
        return None
    began = time.monotonic()
    said = [began]

    def tell(done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - began < 1 or now - said[0] < 0.2:
            return
        said[0] = now
        of = f" of {total:,}" if total else ""
        rate = done / (now - began)
        left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
        print(f"\r\x1b[Kassay: {done:,}{of} rows, {rate:,.0f}/s{left}", end="\r", file=sys.stderr, flush=True)

    return tell
