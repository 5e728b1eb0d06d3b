"""`scan`: would loading this target's models run code that nobody agreed to? And accepting what was found in them.

Tables, JSON and SARIF may rest on an earlier scan of files whose stat is unchanged; a statement never does unless the
caller trusts the digest cache too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assay.api.anchors import TrustIn, anchors, anchors_of_keys, folder
from assay.api.signers import SignWith, signer
from assay.api.stating import state
from assay.config import Config, load
from assay.errors import ChangedError, UsageError
from assay.files import read_file, require_folder, write_atomic
from assay.targets.interface import Manifest, Options, Target
from assay.targets.registry import resolve

if TYPE_CHECKING:
    from assay.collect.scan.models.baseline import Baseline
    from assay.collect.scan.models.interface import Rules, TargetResult
    from assay.collect.scan.models.settings import Settings

FORMATS = ("table", "json", "sarif", "statement", "attest")
"""What the caller may ask for."""

MAX_BASELINE = 64 << 20
"""Bytes of the largest baseline or allow-list that is read."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """What `scan` found and made."""

    reference: str
    """The target, pinned."""
    format: str
    document: bytes
    """In the format that was asked for: for ``attest`` the signed bundle, for ``table`` nothing."""
    result: TargetResult
    """What was found, independent of a format."""
    exit_code: int
    """0 nothing reaches the gate, 1 something does, 3 something could not be read."""
    baseline: Baseline
    """The accepted findings that counted."""
    warnings: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    """Names that are no part of the target."""
    contents: str | None = None
    """SHA-256 (hex) of names, sizes and digests; for a statement only."""
    by: str | None = None
    """Who signed, in words; None when nothing was."""
    entry: str | None = None
    """Digest under which the store keeps the attestation."""
    store: str | None = None


def scan(
    target: str,
    *,
    output: str = "json",
    fail_on: Sequence[str] = (),
    baseline: str | None = None,
    baseline_keys: Sequence[str] = (),
    use_cache: bool = True,
    signer_choice: SignWith = SignWith(),  # noqa: B008 - frozen
    directory: str | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    labels: Mapping[str, str] | None = None,
    config: Config | None = None,
    identify: bool = False,
    progress: Callable[[int, int], None] | None = None,
    now: datetime | None = None,
) -> Scanned:
    """Scan every file of ``target`` for code that loading it would run. Nothing is loaded, imported or executed.

    ``output`` is one of `FORMATS`; ``statement`` is an in-toto statement, unsigned, ``attest`` the same, signed and
    kept in the evidence store. ``fail_on`` (`settings.Gate.of` has the words) decides the exit code only,
    ``baseline`` is a signed file of findings that do not count for it, and ``baseline_keys`` are the public keys of
    those who may sign one (by default whoever is trusted for the target). Raises `AssayError`.
    """
    from assay.collect.scan.models import run
    from assay.collect.scan.models.settings import Gate

    if output not in FORMATS:
        raise UsageError(f"unknown format {output!r}", hint=f"one of: {', '.join(FORMATS)}")
    config = config if config is not None else load(None)
    moment = now or datetime.now(UTC)
    started = moment.replace(microsecond=0)
    evidence = output in ("statement", "attest")
    secret, by = signer(signer_choice, config) if output == "attest" else (None, None)
    # What evidence is about must be all of the target; who only looks sees the rest beside what cannot be looked at.
    with resolve(target, replace(options, lenient=not evidence)) as thing:
        section = settings(config, thing)
        gate = Gate.of(tuple(fail_on) or section.fail_on)
        accepted = _baseline(baseline, baseline_keys, section, config, thing, started)
        rules = _rules(section, config)
        notes: list[str] = []
        result = run.scan(
            thing,
            rules=rules,
            workers=options.workers,
            cache=_cache(use_cache, evidence, options),
            digests=output != "table" or bool(accepted.marks),
            progress=progress,
            notes=notes.append,
        )
        code = gate.exit_code(result, accepted)
        reference, ignored = str(thing.reference), thing.facts.ignored
        warnings = (*accepted.problems, *notes)
        if not evidence:
            finished = after(started, now)
            document = _document(output, result, thing, accepted, finished, code)
            return Scanned(reference, output, document, result, code, accepted, warnings, ignored)
        made = state(
            thing,
            _same_bytes(thing, result),
            _predicate(result, rules, started, after(started, now)),
            secret=secret,
            directory=directory,
            options=options,
            labels=labels,
            config=config,
            identify=identify,
            now=started,
        )
        return Scanned(
            reference,
            output,
            made.document,
            result,
            code,
            accepted,
            warnings,
            ignored,
            made.contents,
            by,
            made.entry,
            made.store,
        )


@dataclass(frozen=True, slots=True)
class Accepted:
    """What `accept` made."""

    reference: str
    path: str
    """File of the baseline."""
    findings: int
    """How many findings it accepts."""
    left_out: int
    """Findings in files that could not be digested; they cannot be accepted."""
    by: str
    """Who signed, in words."""


def accept(
    target: str,
    path: str,
    *,
    until: datetime,
    reason: str,
    signer_choice: SignWith = SignWith(),  # noqa: B008 - frozen
    options: Options = Options(),  # noqa: B008 - frozen
    config: Config | None = None,
    progress: Callable[[int, int], None] | None = None,
    now: datetime | None = None,
) -> Accepted:
    """Scan ``target`` and write a signed baseline that accepts what is found in these very bytes, until ``until``.

    Raises `AssayError`; a time that has passed and an empty reason are wrong usage.
    """
    from assay.collect.scan.models import baseline, run

    config = config if config is not None else load(None)
    moment = (now or datetime.now(UTC)).replace(microsecond=0)
    if until <= moment:
        raise UsageError("the baseline would accept nothing: its end has passed", hint="give a later --until")
    if not reason.strip():
        raise UsageError("a baseline says why its findings are acceptable", hint="give --reason TEXT")
    require_folder(path)
    secret, by = signer(signer_choice, config)
    with resolve(target, options) as thing:
        rules = _rules(settings(config, thing), config)
        result = run.scan(thing, rules=rules, workers=options.workers, progress=progress)
        payload = baseline.statement(result, until=until, reason=reason.strip(), now=moment)
        reference = str(thing.reference)
    counted = [len(item.findings) for item in result.files if item.findings]
    if not counted:
        raise UsageError(f"nothing was found in {reference}: there is nothing to accept")
    write_atomic(path, secret.sign(payload).raw)
    lost = sum(len(item.findings) for item in result.files if item.sha256 is None)
    return Accepted(reference, path, sum(counted) - lost, lost, by)


def settings(config: Config, thing: Target) -> Settings:
    """The configuration's ``scan`` section. A downloaded model must not bring its own: then it raises `UsageError`."""
    from assay.collect.scan.models.settings import parse

    section = parse(config.scan)
    place = folder(thing.reference)
    if config.scan and place is not None and config.grants_itself(place):
        raise UsageError(
            f"the assay.yaml in {config.directory!r} lies inside the target, and its scan section could excuse it",
            hint="name the file with --config if it is yours, or run from another folder",
        )
    return section


def _cache(use: bool, evidence: bool, options: Options) -> Any:
    if not use:
        return "off"
    return "content" if evidence and not options.trust_cache else "stat"


def _rules(section: Settings, config: Config) -> Rules:
    from assay.collect.scan.models.rules.ruleset import load as load_rules

    return load_rules({path: read_file(config.path(path), MAX_BASELINE) for path in section.allow})


def _baseline(
    path: str | None, keys: Sequence[str], section: Settings, config: Config, thing: Target, now: datetime
) -> Baseline:
    from assay.collect.scan.models import baseline

    keys = [*keys] or [config.path(key) for key in section.baseline_keys]
    if path is None and section.baseline is not None:
        path = config.path(section.baseline)
    if path is None:
        return baseline.Baseline()
    expected = anchors_of_keys(keys) if keys else anchors(TrustIn(), config, thing.reference)
    return baseline.read(read_file(path, MAX_BASELINE), path, expected, now)


def after(started: datetime, now: datetime | None) -> datetime:
    """When work that began at ``started`` was complete; never before it began."""
    return max(started, (now or datetime.now(UTC)).replace(microsecond=0))


def _document(
    output: str, result: TargetResult, thing: Target, accepted: Baseline, finished: datetime, code: int
) -> bytes:
    import json

    from assay.collect.scan.models import predicate, sarif

    if output == "table":
        return b""
    if output == "sarif":
        made = sarif.render(
            result, thing.name, accepted, finished=finished, exit_code=code, ignored=thing.facts.ignored
        )
    else:
        made = predicate.as_json(result, str(thing.reference), accepted)
    return json.dumps(made, indent=2, ensure_ascii=True).encode() + b"\n"


def _predicate(result: TargetResult, rules: Rules, started: datetime, finished: datetime) -> tuple[str, dict[str, Any]]:
    from assay.collect.scan.models import predicate
    from assay.evidence import predicates
    from assay.evidence.predicates.scan import PREDICATE_TYPE

    made = predicate.document(result, rules, started=started, finished=finished)
    return PREDICATE_TYPE, predicates.builtins(made)


def _same_bytes(thing: Target, result: TargetResult) -> Manifest:
    """The manifest, after holding it against the bytes that were scanned. Raises `ChangedError` where they differ."""
    manifest = thing.manifest(blake3=False)
    for item, resource in zip(result.files, manifest, strict=True):
        if item.path != resource.name or resource.sha256 is None or item.sha256 != resource.sha256.hex():
            raise ChangedError(
                f"{item.path!r} changed while the target was scanned, or could not be read",
                hint="scan again when it is at rest",
            )
    return manifest
