"""`examine`: was a data set poisoned? Its rows are read and compared, with attested earlier versions where there are.

What could not be looked at (a skipped file, rows outside a sample, labels that nobody named) is said and never clean.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from assay.api.anchors import TrustIn
from assay.api.scanning import FORMATS, after, settings
from assay.api.signers import SignWith, signer
from assay.api.stating import state
from assay.config import Config, load
from assay.errors import ChangedError, UsageError
from assay.targets.interface import Options, Target
from assay.targets.registry import resolve

if TYPE_CHECKING:
    from assay.api.earlier import Attested
    from assay.collect.scan.poisoning.interface import PoisoningResult
    from assay.collect.scan.poisoning.settings import Section


@dataclass(frozen=True, slots=True)
class Examined:
    """What `examine` found and made."""

    reference: str
    """The data set, pinned."""
    format: str
    document: bytes
    """In the format that was asked for: for ``attest`` the signed bundle, for ``table`` nothing."""
    result: PoisoningResult
    """What was found, independent of a format."""
    exit_code: int
    """0 nothing reaches the gate, 1 something does, 3 something was not looked at."""
    undecided: tuple[str, ...] = ()
    """What was not looked at, one sentence each."""
    warnings: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    """Names that are no part of the data set."""
    contents: str | None = None
    """SHA-256 (hex) of names, sizes and digests; for a statement only."""
    by: str | None = None
    """Who signed, in words; None when nothing was."""
    entry: str | None = None
    """Digest under which the store keeps the attestation."""
    store: str | None = None


def examine(
    target: str,
    *,
    output: str = "json",
    chosen: Section | None = None,
    signer_choice: SignWith = SignWith(),  # noqa: B008 - frozen
    directory: str | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    labels: Mapping[str, str] | None = None,
    config: Config | None = None,
    identify: bool = False,
    progress: Callable[[str], None] = lambda _step: None,
    now: datetime | None = None,
) -> Examined:
    """Look for poison in the tables, texts or embeddings of ``target``.

    ``output`` is one of `scanning.FORMATS`. ``chosen`` (a `collect.scan.poisoning.settings.Section`) goes before the
    section ``scan.poisoning`` of the configuration; paths in it are relative to the current folder. Each version in
    its ``since`` must be attested by somebody trusted. Raises `AssayError`; `MissingExtraError` without scikit-learn.
    """
    from assay.collect.scan.poisoning.run import scan_dataset
    from assay.collect.scan.poisoning.settings import parse, undecided

    if output not in FORMATS:
        raise UsageError(f"unknown format {output!r}", hint=f"one of: {', '.join(FORMATS)}")
    config = config if config is not None else load(None)
    started = (now or datetime.now(UTC)).replace(microsecond=0)
    evidence = output in ("statement", "attest")
    secret, by = signer(signer_choice, config) if output == "attest" else (None, None)
    with resolve(target, options) as thing, contextlib.ExitStack() as stack:
        section = _located(parse(settings(config, thing).poisoning), config)
        section = chosen.over(section) if chosen is not None else section
        gate = section.gate()
        versions = _versions(section, thing, options, directory, config, started, stack)
        embeddings = stack.enter_context(resolve(section.embeddings)) if section.embeddings else None
        manifest = thing.manifest(blake3=False)
        result = scan_dataset(
            thing,
            baseline=[version.target for version in versions],
            embeddings=embeddings,
            settings=section.settings(),
            manifest=manifest,
            progress=progress,
        )
        _hold(result, versions)
        code = gate.exit_code(result.scanned, _accepting_nothing())
        missing = undecided(result.scanned, sample_is_enough=section.sample is not None)
        code = 3 if code == 0 and missing else code
        reference, ignored = str(thing.reference), thing.facts.ignored
        warnings = tuple(doubt for version in versions for doubt in version.doubts)
        finished = after(started, now)
        if not evidence:
            document = _document(output, result, thing, finished, code)
            return Examined(reference, output, document, result, code, tuple(missing), warnings, ignored)
        made = state(
            thing,
            manifest,
            _predicate(result, started, finished),
            secret=secret,
            directory=directory,
            options=options,
            labels=labels,
            config=config,
            identify=identify,
            now=started,
        )
        return Examined(
            reference,
            output,
            made.document,
            result,
            code,
            tuple(missing),
            warnings,
            ignored,
            made.contents,
            by,
            made.entry,
            made.store,
        )


def _located(section: Section, config: Config) -> Section:
    """The configuration's section with its paths as they are seen from here."""
    import os

    def place(name: str) -> str:
        path = config.path(name)
        return path if os.path.exists(path) else name

    return msgspec.structs.replace(
        section,
        embeddings=place(section.embeddings) if section.embeddings else None,
        since=[place(name) for name in section.since],
        since_keys=[config.path(key) for key in section.since_keys],
    )


def _versions(
    section: Section,
    thing: Target,
    options: Options,
    directory: str | None,
    config: Config,
    now: datetime,
    stack: contextlib.ExitStack,
) -> Sequence[Attested]:
    if not section.since:
        return ()
    from assay.api.earlier import Search, earlier

    trust = TrustIn(keys=tuple(section.since_keys))
    return stack.enter_context(earlier(section.since, Search(thing, trust, options, directory, config, now)))


def _hold(result: PoisoningResult, versions: Sequence[Attested]) -> None:
    """Stops: an earlier version that changes between the proof and the reading."""
    read = result.compared.versions if result.compared is not None else ()
    for found, version in zip(read, versions, strict=True):
        if found.contents != version.contents:
            raise ChangedError(f"{found.name!r} changed while it was read", hint="scan again when it is at rest")


def _accepting_nothing() -> Any:
    from assay.collect.scan.models.baseline import Baseline

    return Baseline()


def _document(output: str, result: PoisoningResult, thing: Target, finished: datetime, code: int) -> bytes:
    from assay.collect.scan.models import sarif
    from assay.collect.scan.poisoning import rendering

    if output == "table":
        return b""
    if output == "json":
        made = rendering.as_json(result)
    else:
        made = sarif.render(
            result.scanned,
            thing.name,
            _accepting_nothing(),
            finished=finished,
            exit_code=code,
            ignored=thing.facts.ignored,
            kind="poisoning",
        )
    return json.dumps(made, indent=2, ensure_ascii=True).encode() + b"\n"


def _predicate(result: PoisoningResult, started: datetime, finished: datetime) -> tuple[str, dict[str, Any]]:
    from assay.collect.scan.poisoning.evidence import document
    from assay.evidence import predicates
    from assay.evidence.predicates.scan import PREDICATE_TYPE

    return PREDICATE_TYPE, predicates.builtins(document(result, started=started, finished=finished))
