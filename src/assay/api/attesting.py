"""`attest`: any report about a target becomes signed evidence about its very bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from assay.api.signers import SignWith, signer
from assay.api.signing import Signed
from assay.api.stating import state
from assay.config import Config, load
from assay.evidence import predicates
from assay.files import read_file
from assay.targets.interface import Manifest, Options
from assay.targets.registry import resolve


def attest(
    target: str,
    predicate: str,
    *,
    type: str | None = None,
    signer_choice: SignWith = SignWith(),  # noqa: B008 - frozen
    directory: str | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    labels: Mapping[str, str] | None = None,
    config: Config | None = None,
    identify: bool = False,
    now: datetime | None = None,
) -> Signed:
    """Sign the report in the file ``predicate`` as a statement about ``target`` and keep it in the evidence store.

    ``type`` is a predicate type's URI or a short name (``sarif``, ``junit``, ``slsaprovenance``, ``evaluation``, …);
    without it the report's own form decides. Types that are known are checked, other URIs are taken as they are.
    Raises `AssayError`.
    """
    from assay.evidence.predicates import reports

    config = config if config is not None else load(None)
    now = now or datetime.now(UTC)
    data = read_file(predicate)
    scan = _foreign_scan(predicate, data, type)
    if scan is None:
        predicate_type, document = reports.from_report(predicate, data, type)
        predicates.check(predicate_type, document)
    secret, by = signer(signer_choice, config)
    with resolve(target, options) as thing:
        manifest = thing.manifest()
        if scan is not None:
            predicate_type, document = scan(manifest, now)
        made = state(
            thing,
            manifest,
            (predicate_type, document),
            secret=secret,
            directory=directory,
            options=options,
            labels=labels,
            config=config,
            identify=identify,
            now=now,
        )
        return Signed(
            str(thing.reference),
            len(manifest),
            manifest.size,
            made.contents,
            by,
            predicate_type,
            made.document,
            None,
            made.entry,
            made.store,
            thing.facts.ignored,
        )


def _foreign_scan(
    path: str, data: bytes, type: str | None
) -> Callable[[Manifest, datetime], tuple[str, dict[str, Any]]] | None:
    """How another scanner's report becomes a `scan` of the target's very files; None when it is no such report."""
    if type is None or predicates.predicate_type(type) != "https://assay.dev/scan/v0.1":
        return None
    from assay.collect.scan.models.reports import convert, foreign
    from assay.evidence.predicates.scan import PREDICATE_TYPE

    if not foreign(path, data):
        return None

    def make(manifest: Manifest, now: datetime) -> tuple[str, dict[str, Any]]:
        found = convert(os.path.basename(path), data, manifest, now.replace(microsecond=0))
        return PREDICATE_TYPE, predicates.builtins(found)

    return make
