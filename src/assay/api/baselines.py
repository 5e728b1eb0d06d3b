"""`baseline`: what data are like, as a file that all later data are held against, and as signed evidence."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import assay
from assay.api.signers import SignWith, signer
from assay.api.stating import state
from assay.config import Config, load
from assay.errors import ChangedError, UndecidedError, UsageError
from assay.targets.interface import Options
from assay.targets.registry import resolve

if TYPE_CHECKING:
    from assay.collect.profile.build import Built, Progress
    from assay.collect.profile.interface import Custom, Kind
    from assay.collect.profile.sources.interface import Reading, Source
    from assay.watch.constraints.baseline import Baseline

FORMATS = ("json", "attest", "statement", "sagemaker")
"""What `baseline` writes. ``sagemaker`` is two files in a folder: ``statistics.json`` and ``constraints.json``."""


@dataclass(frozen=True, slots=True)
class Data:
    """Where rows are, and how they are read."""

    place: Any
    """A path, a folder, a pattern, a database's URL, or a table (pandas, polars, pyarrow)."""
    kind: str | None = None
    """One of ``parquet``, ``csv``, ``jsonl``, ``arrow``, ``captured``; None: by name."""
    query: str | None = None
    """For a database."""
    reading: Reading | None = None


@dataclass(frozen=True, slots=True)
class Based:
    """What `baseline` made."""

    baseline: Baseline
    documents: Mapping[str, bytes]
    """File name to contents."""
    notes: tuple[str, ...] = ()
    """What the user should know: dropped lines, left out columns."""
    by: str | None = None
    """Who signed, in words; None when nothing was."""
    entry: str | None = None
    """Digest under which the store keeps the attestation."""
    store: str | None = None
    statement: bytes = b""
    """The signed bundle or the bare statement, where one was asked for."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a baseline's profile looks at."""

    columns: tuple[str, ...] | None = None
    """None: all but those that only say which row it is."""
    leave_out: tuple[str, ...] = ()
    """All but these: a label that requests do not have. Not together with `columns`."""
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    """Columns that are looked at in another way than their values suggest."""
    customs: Sequence[Custom] = ()
    """Statistics of the user's own."""
    seed: int = 0
    """Of the categories' hashes; 0 draws one."""
    least: int = 10
    """Values seen less often are kept as hashes only; 1 keeps all."""


def baseline(
    data: Data,
    *,
    name: str = "baseline.json",
    output: str = "json",
    shape: Shape = Shape(),
    signer_choice: SignWith = SignWith(),  # noqa: B008 - frozen
    directory: str | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    labels: Mapping[str, str] | None = None,
    config: Config | None = None,
    identify: bool = False,
    progress: Progress | None = None,
    workers: int | None = None,
    now: datetime | None = None,
) -> Based:
    """Profile ``data`` and suggest constraints.

    ``name`` is what the baseline file will be called, for the evidence. With ``attest`` and ``statement`` the data must
    be files: they are digested before and after they are read. Raises `AssayError`.
    """
    import secrets

    from assay.collect.profile.build import profile
    from assay.collect.profile.parts import parts
    from assay.collect.profile.sources.opening import open_source

    if output not in FORMATS:
        raise UsageError(f"unknown format {output!r}", hint=f"one of: {', '.join(FORMATS)}")
    config = config if config is not None else load(None)
    started = (now or datetime.now(UTC)).replace(microsecond=0)
    secret, by = signer(signer_choice, config) if output == "attest" else (None, None)
    source = open_source(data.place, kind=data.kind, query=data.query, reading=data.reading)
    columns = _columns(source, shape)

    def build() -> Built:
        return profile(
            source,
            seed=shape.seed or secrets.randbits(63),
            kinds=shape.kinds,
            customs=shape.customs,
            columns=columns,
            workers=workers,
            progress=progress,
        )

    def regularity(built: Built) -> tuple[bytes, ...]:
        return parts(source, built.spec, customs=shape.customs, columns=columns)

    if output not in ("attest", "statement"):
        built = build()
        made = _made(built, shape, started, regularity(built))
        return Based(made, _documents(made, output, name), notes_of(built))
    if not isinstance(data.place, str) or not os.path.exists(data.place):
        raise UsageError(
            "evidence is about files or folders, and this is none", hint="export the rows first, or write -o json"
        )
    with resolve(data.place, options) as thing:
        before = thing.manifest(blake3=False)
        built = build()
        apart = regularity(built)
        after = thing.manifest(blake3=False)
        if before.contents() != after.contents():
            raise ChangedError(f"{data.place!r} changed while it was read", hint="try again when it is at rest")
        made = _made(built, shape, started, apart, str(thing.reference), before.contents().hex())
        documents = _documents(made, "json", name)
        said = state(
            thing,
            before,
            _predicate(made, name, documents[name]),
            secret=secret,
            directory=directory,
            options=options,
            labels=labels,
            config=config,
            identify=identify,
            now=started,
        )
    return Based(made, documents, notes_of(built), by, said.entry, said.store, said.document)


def _columns(source: Source, shape: Shape) -> tuple[str, ...] | None:
    """Which columns are looked at. Raises `UsageError` for one that is left out and not there."""
    if not shape.leave_out:
        return shape.columns
    if shape.columns is not None:
        raise UsageError("either columns are named, or some are left out")
    names = [name for name in source.schema() if name not in source.keys]
    for name in shape.leave_out:
        if name not in names:
            raise UsageError(f"the data have no column {name[:100]!r} to leave out")
    return tuple(name for name in names if name not in shape.leave_out)


def baseline_of(
    states: Sequence[bytes],
    *,
    name: str = "baseline.json",
    output: str = "json",
    least: int = 10,
    now: datetime | None = None,
) -> Based:
    """The baseline of profiles that were made elsewhere with one spec (`api.scaling.profile`), such as one a day.

    Four or more of like size, in the order of time, also teach how much windows differ by themselves. ``output`` is
    ``json`` or ``sagemaker``: evidence is about files, and these are not here. Raises `AssayError`.
    """
    from assay.api.scaling import built
    from assay.collect.profile.partial import decode, merge

    if output not in ("json", "sagemaker"):
        raise UsageError(f"a profile without its data cannot be written as {output!r}", hint="json or sagemaker")
    started = (now or datetime.now(UTC)).replace(microsecond=0)
    whole = built(merge(*states))
    rows = [decode(state).rows for state in states]
    apart = states if min(rows) * 2 >= max(rows) else ()
    made = _made(whole, Shape(least=least), started, apart)
    few = ("the profiles differ too much in size to tell how much windows differ",) if rows and not apart else ()
    return Based(made, _documents(made, output, name), (*notes_of(whole), *few))


def _made(
    built: Built,
    shape: Shape,
    now: datetime,
    apart: Sequence[bytes] = (),
    name: str | None = None,
    contents: str | None = None,
) -> Baseline:
    """``apart`` are states of contiguous parts of the data: by how much they differ is what windows differ by."""
    from assay.collect.profile.partial import decode, publish
    from assay.watch.constraints.baseline import Baseline, Source
    from assay.watch.constraints.suggest import suggest
    from assay.watch.drift.floors import calibrate

    published = publish(built.state, least=shape.least) if shape.least > 1 else built.state
    profile = decode(published)
    if not profile.rows:
        raise UndecidedError("the data have no rows: nothing can be learned from them")
    floors = json.loads(calibrate(profile, [decode(state, labels=None) for state in apart]).encode())
    sources = (Source(name, {"sha256": contents}),) if name is not None and contents is not None else ()
    return Baseline(published, profile, suggest(profile), now, floors, sources)


def _documents(made: Baseline, output: str, name: str) -> dict[str, bytes]:
    if output == "sagemaker":
        from assay.watch.sagemaker.constraints import dumps as constraints
        from assay.watch.sagemaker.statistics import dumps as statistics

        return {"statistics.json": statistics(made.profile), "constraints.json": constraints(made.constraints)}
    from assay.watch.constraints.baseline import dumps

    return {name: dumps(made)}


def _predicate(made: Baseline, name: str, document: bytes) -> tuple[str, dict[str, Any]]:
    import msgspec

    from assay.evidence.predicates import baseline as predicate
    from assay.evidence.predicates.common import ResourceDescriptor
    from assay.watch import columns
    from assay.watch.constraints import reading

    kinds = {column.name: column.kind for column in made.profile.spec.columns}
    stated = predicate.Baseline(
        made=made.made,
        tool=f"assay {assay.__version__}",
        rows=made.profile.rows,
        columns=[
            predicate.Column(
                name=column,
                kind=str(kinds.get(column, "unknown")),
                missing=columns.missing(found),
                distinct=getattr(found, "distinct", None),
            )
            for column, found in made.profile.columns.items()
        ],
        profile=ResourceDescriptor(name="profile", digest={"sha256": made.digest}),
        document=ResourceDescriptor(
            name=os.path.basename(name), digest={"sha256": hashlib.sha256(document).hexdigest()}
        ),
        constraints=reading.to_value(made.constraints),
    )
    return predicate.PREDICATE_TYPE, msgspec.to_builtins(stated)


def notes_of(built: Built) -> tuple[str, ...]:
    """What the user should know about how rows were read."""
    notes = built.notes
    said = list(notes.remarks)
    if notes.dropped:
        said.append(f"{notes.dropped:,} line(s) could not be read, such as {'; '.join(notes.examples[:3])}")
    return tuple(said)
