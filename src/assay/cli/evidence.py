"""`assay evidence list|show|download|diff|discard|export|import|check`."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assay.cli import flags, printing
from assay.errors import DocumentError, UsageError

if TYPE_CHECKING:
    from assay.evidence.stores.interface import Entry, Store


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, summary: str, run: Any, *names: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        for argument in names:
            made.add_argument(
                argument.lower(), metavar=argument, help="an entry: its number or the digest's first digits"
            )
        flags.evidence(made)
        made.add_argument("--json", action="store_true", help="the result as JSON on standard output")
        made.set_defaults(run=run)
        return made

    listing = action("list", "what the store holds, newest first", list_entries)
    listing.add_argument("--target", metavar="NAME", help="about a subject of this name")
    listing.add_argument("--digest", metavar="HEX", help="about a subject with this digest")
    listing.add_argument("--type", metavar="TYPE", help="of this predicate type (URI or short name)")
    listing.add_argument("--signer", metavar="WHO", help="that claims this signer")
    listing.add_argument("--since", metavar="TIME", help="added at or after this time (RFC 3339)")
    listing.add_argument("--until", metavar="TIME", help="added at or before this time")
    listing.add_argument("-L", "--label", action="append", default=[], metavar="KEY=VALUE")
    listing.add_argument("--discarded", action="store_true", help="discarded ones too")
    action("show", "one entry's statement", show, "ENTRY")
    download = action("download", "one entry's signed document, byte for byte", download_entry, "ENTRY")
    download.add_argument("-O", "--output-file", metavar="FILE")
    action("diff", "what changed between two bills of materials", diff, "OLD", "NEW")
    discard = action("discard", "declare that an entry does not count any more; history stays", discard_entry, "ENTRY")
    discard.add_argument("--reason", required=True, help="why; it is recorded")
    export = action("export", "entries as JSON Lines (.intoto.jsonl)", export_entries)
    export.add_argument("entries", nargs="*", metavar="ENTRY", help="which (default: all that are not discarded)")
    export.add_argument("-O", "--output-file", metavar="FILE")
    load = action("import", "add documents of any tool: bundles, DSSE envelopes, JSON Lines", import_documents)
    load.add_argument("files", nargs="+", metavar="FILE")
    load.add_argument("-L", "--label", action="append", default=[], metavar="KEY=VALUE")
    check = action("check", "whether anything was removed, replaced or edited", check_store)
    check.add_argument("--expect-head", metavar="SEQ:DIGEST", help="the head that an earlier check printed")


@contextlib.contextmanager
def _open(parsed: argparse.Namespace, *, create: bool = False) -> Iterator[Store]:
    """The store; what it has to say about itself is printed at the end."""
    from assay.api.keeping import open_store
    from assay.config import load

    with open_store(parsed.directory, config=load(parsed.config), create=create) as store:
        try:
            yield store
        finally:
            for text in store.notes:
                printing.note(f"note: {text}")


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "entry": entry.seq,
        "digest": entry.blob,
        "kind": entry.kind,
        "time": entry.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "target": entry.target,
        "predicateType": entry.predicate_type,
        "claimedSigners": list(entry.signers),
        "labels": dict(entry.labels),
        "discarded": entry.discarded,
        "reason": entry.reason,
    }


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a time like 2026-11-22T10:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def list_entries(parsed: argparse.Namespace) -> int:
    """List."""
    from assay.evidence.predicates import SHORT

    with _open(parsed) as store:
        found = store.find(
            digest=parsed.digest,
            name=parsed.target,
            predicate_type=SHORT.get(parsed.type, parsed.type) if parsed.type else None,
            signer=parsed.signer,
            since=_time(parsed.since),
            until=_time(parsed.until),
            labels=flags.labels(parsed) or None,
            discarded=parsed.discarded,
        )
    if parsed.json:
        printing.as_json([_entry(entry) for entry in found])
        return 0
    for entry in found:
        state = " (discarded)" if entry.discarded else ""
        signer = entry.signers[0][:16] if entry.signers else "-"
        printing.line(
            f"{entry.seq:>5}  {entry.blob[:12]}  {entry.time:%Y-%m-%d %H:%M:%SZ}  {signer:16}  "
            f"{entry.target or '-'}  {entry.predicate_type or entry.kind}{state}"
        )
    if not found:
        printing.note("nothing found")
    return 0


def _statement(store: Store, entry: Entry) -> Any:
    from assay.evidence import documents

    what = f"evidence {entry.blob[:12]}"
    return documents.unwrap_predicate(
        documents.statement_of(documents.read_documents(store.read(entry), what)[0], what)
    )


def show(parsed: argparse.Namespace) -> int:
    """Show."""
    import json

    with _open(parsed) as store:
        entry = store.get(parsed.entry)
        statement = json.loads(_statement(store, entry).dump())
    if parsed.json:
        printing.as_json({**_entry(entry), "statement": statement})
        return 0
    printing.line(f"entry {entry.seq}, {entry.blob}")
    printing.line(f"  added    {entry.time:%Y-%m-%dT%H:%M:%SZ}")
    printing.line(f"  claims to be signed by  {', '.join(entry.signers) or '-'} (assay verify proves it)")
    if entry.discarded:
        printing.line("  discarded: it does not count any more")
    printing.line(json.dumps(statement, indent=2, ensure_ascii=True))
    return 0


def download_entry(parsed: argparse.Namespace) -> int:
    """Download."""
    with _open(parsed) as store:
        printing.document(store.read(store.get(parsed.entry)), parsed.output_file)
    return 0


def diff(parsed: argparse.Namespace) -> int:
    """Compare two bills of materials; exit code 1 when they differ."""
    from assay.collect.bom.difference import describe, difference

    with _open(parsed) as store:
        old, new = (_bill(store, name) for name in (parsed.old, parsed.new))
    changes = difference(old, new)
    sentences = describe(changes)
    if parsed.json:
        import msgspec

        printing.as_json(msgspec.to_builtins(changes))
    else:
        for text in sentences:
            printing.line(text)
        if not sentences:
            printing.line("no difference")
    return 1 if sentences else 0


def _bill(store: Store, name: str) -> Any:
    statement = _statement(store, store.get(name))
    if not statement.predicate_type.startswith("https://cyclonedx.org/bom"):
        raise DocumentError(f"entry {name} is not a bill of materials but {statement.predicate_type}")
    return dict(statement.predicate)


def discard_entry(parsed: argparse.Namespace) -> int:
    """Discard."""
    with _open(parsed) as store:
        entry = store.get(parsed.entry)
        tombstone = store.discard(entry, reason=parsed.reason, now=datetime.now(UTC))
    if parsed.json:
        printing.as_json(_entry(tombstone))
    else:
        printing.line(f"discarded {entry.blob[:12]} (entry {entry.seq}) by entry {tombstone.seq}: {parsed.reason}")
    return 0


def export_entries(parsed: argparse.Namespace) -> int:
    """Export."""
    with _open(parsed) as store:
        chosen = [store.get(name) for name in parsed.entries] if parsed.entries else list(reversed(store.find()))
        printing.document(store.export(chosen), parsed.output_file)
    printing.note(f"exported {len(chosen)} document(s)", quiet=parsed.output_file is None)
    return 0


def import_documents(parsed: argparse.Namespace) -> int:
    """Import; everything is read before anything is added."""
    from assay.evidence import documents
    from assay.files import read_file

    found = [bundle for path in parsed.files for bundle in documents.read_documents(read_file(path), path)]
    labels = flags.labels(parsed)
    with _open(parsed, create=True) as store:
        entries = [store.add(bundle.raw, now=datetime.now(UTC), labels=labels) for bundle in found]
    if parsed.json:
        printing.as_json([_entry(entry) for entry in entries])
    else:
        for entry in entries:
            printing.line(f"{entry.seq:>5}  {entry.blob[:12]}  {entry.predicate_type}")
    return 0


def check_store(parsed: argparse.Namespace) -> int:
    """Check; exit code 1 when something is wrong."""
    with _open(parsed) as store:
        report = store.check(parsed.expect_head)
    if parsed.json:
        printing.as_json(
            {
                "entries": report.entries,
                "head": str(report.head),
                "problems": list(report.problems),
                "unlinked": report.unlinked,
            }
        )
        return 1 if report.problems else 0
    for problem in report.problems:
        printing.line(problem)
    if not report.problems:
        printing.line(f"{report.entries:,} entries, nothing removed, replaced or edited")
        printing.line(f"  head {report.head}")
        printing.line(
            "  note the head elsewhere; 'assay evidence check --expect-head' then detects a shortened history too"
        )
    return 1 if report.problems else 0
