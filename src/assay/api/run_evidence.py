"""The evidence of a run: files examined, what is known of its inputs, statements signed and kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assay.api.keeping import open_store, store_path
from assay.api.steps import Step
from assay.config import Config
from assay.errors import AssayError, UsageError

if TYPE_CHECKING:
    from assay.collect.step.comparing import Before
    from assay.collect.step.interface import Files
    from assay.collect.step.statements import Made
    from assay.collect.trace.interface import Trace
    from assay.evidence.signers.interface import Signer
    from assay.evidence.trust.interface import Anchor
    from assay.guard.sandbox.interface import Wanted


def examined(
    step: Step,
    trace: Trace,
    wanted: Wanted,
    written: Sequence[str] | None,
    before: Before | None,
    directory: str | None,
    config: Config,
    *,
    digest: bool = True,
) -> Files:
    """Everything that the step did to files; inputs with the verified evidence about them."""
    from assay.collect.step.files import Places, examine

    places = Places(
        step.name or os.path.basename(step.command[0]),
        wanted.directory,
        wanted.read,
        wanted.write,
        wanted.installation,
        wanted.temporary,
    )
    known = _attestations(directory, config)
    return examine(trace, places, written=written, before=before, attestations=known, digest=digest)


def _attestations(directory: str | None, config: Config) -> Callable[[str], Sequence[Mapping[str, str]]]:
    """How evidence about an input is found: in the store, by its contents, signed by somebody whom we would trust."""
    if not os.path.isdir(store_path(directory, config)):
        return lambda contents: ()
    trusted: list[Anchor] | None = None

    def find(contents: str) -> Sequence[Mapping[str, str]]:
        from assay.evidence import documents, listing
        from assay.evidence.witnesses import weak, witnesses

        nonlocal trusted
        expected = trusted = _expected(config) if trusted is None else trusted
        found: list[Mapping[str, str]] = []
        if not expected:
            return found
        with open_store(directory, config=config) as store:
            for entry in store.find(digest=contents, limit=50):
                for bundle in documents.read_documents(store.read(entry), entry.blob[:12])[:1]:
                    statement, _ = listing.read(bundle, entry.blob[:12])
                    about = any(contents in subject.strong.values() for subject in statement.subjects)
                    proofs, _ = witnesses(bundle, expected, datetime.now(UTC))
                    if about and proofs and weak(statement) is None:
                        made = {"digest": entry.blob, "predicateType": statement.predicate_type}
                        found.append({**made, "by": str(proofs[0][1])})
        return found

    return find


def _expected(config: Config) -> list[Anchor]:
    """Whom we would trust; nobody where that cannot be read."""
    from assay.api.anchors import TrustIn, anchors_of, named

    try:
        return [anchor for rule in config.trust for anchor in named(rule, config)] or list(anchors_of(TrustIn()))
    except AssayError:
        return []


def descriptions(files: Files, *, labels: Mapping[str, str], identify: bool) -> list[dict[str, Any]]:
    """What each output's subject is described by, as in every other statement of ours about a folder."""
    from assay.api.subjects import described
    from assay.targets.interface import Options
    from assay.targets.registry import resolve

    made = []
    now = datetime.now(UTC)
    for folder in files.outputs:
        with resolve(f"dir:{folder.path}", Options(trust_cache=True)) as thing:
            manifest = thing.manifest(blake3=False)
            made.append(described(thing, manifest, Options(), now=now, labels=labels, identify=identify))
    return made


def kept(
    made: Sequence[Made],
    secret: Signer,
    directory: str | None,
    config: Config,
    labels: Mapping[str, str],
    files: Files,
) -> tuple[dict[str, str], list[bytes]]:
    """Sign the statements, and keep them in the store."""
    from assay.evidence.statement import Statement

    entries: dict[str, str] = {}
    bundles = []
    now = datetime.now(UTC)
    target = f"dir:{files.outputs[0].name}" if files.outputs else None
    with open_store(directory, config=config, create=True) as store:
        for item in made:
            bundle = secret.sign(Statement(item.subjects, item.predicate_type, item.predicate).dump())
            bundles.append(bundle.raw)
            entries[item.predicate_type] = store.add(bundle.raw, now=now, labels=labels, target=target).blob
    return entries, bundles


def builder(secret: Signer) -> str:
    """SLSA's builder is who vouches for the run: whoever holds the key, or whom the certificate names."""
    from assay.evidence.signers.key import CertificateSigner, KeySigner

    if isinstance(secret, KeySigner | CertificateSigner):
        return f"https://assay.dev/builder/key/{secret.key.public.key_id}"
    return "https://assay.dev/builder/sigstore"


def public(command: Sequence[str]) -> list[str]:
    """The command without this machine's folders in the name of the program: two machines' runs are alike. Bytes that
    are no UTF-8 stand as ``\\xNN``.
    """
    words = [os.path.basename(command[0]) if os.path.isabs(command[0]) else command[0], *command[1:]]
    return list(map(printable, words))


def printable(text: str) -> str:
    """A word that may hold any bytes, as text that a statement can hold."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def check_place(directory: str | None, config: Config, flow_log: str | None) -> None:
    """Whether evidence can be kept at all, asked before the step has begun. Raises `AssayError`."""
    open_store(directory, config=config, create=True).close()
    place = store_path(directory, config)
    if not os.access(place, os.W_OK | os.X_OK):  # also of a file system that is read-only
        raise UsageError(f"nothing can be written to the evidence directory {place}", hint="name another with -d")
    if flow_log is not None and not os.access(os.path.dirname(os.path.abspath(flow_log)), os.W_OK | os.X_OK):
        raise UsageError(f"the flow log {flow_log!r} cannot be written", hint="name a file in a folder that is there")


def write_log(trace: Trace, invocation: str, path: str) -> None:
    """The network's log: version 2 lines in ``path``, and JSON Lines beside it."""
    from assay.collect.trace import flow_log
    from assay.files import write_atomic

    write_atomic(path, flow_log.lines(trace, invocation))
    write_atomic(f"{path}.jsonl", flow_log.json_lines(trace, invocation))
