"""`attest`: any report about a target becomes signed evidence about its very bytes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from assay.api.keeping import keep, store_path
from assay.api.signers import SignWith, signer
from assay.api.signing import Signed
from assay.api.subjects import described, subject
from assay.config import Config, load
from assay.evidence import predicates
from assay.evidence.statement import Statement
from assay.files import read_file
from assay.targets.interface import Options
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
    predicate_type, document = reports.from_report(predicate, read_file(predicate), type)
    predicates.check(predicate_type, document)
    secret, by = signer(signer_choice, config)
    with resolve(target, options) as thing:
        manifest = thing.manifest()
        said = described(
            thing, manifest, options, now=now, labels={**config.labels, **(labels or {})}, identify=identify
        )
        statement = Statement((subject(thing, manifest, said),), predicate_type, document)
        bundle = secret.sign(statement.dump())
        entry = keep(bundle, thing, directory, config, now, said)
        return Signed(
            str(thing.reference),
            len(manifest),
            manifest.size,
            manifest.contents().hex(),
            by,
            predicate_type,
            bundle.raw,
            None,
            entry,
            store_path(directory, config),
            thing.facts.ignored,
        )
