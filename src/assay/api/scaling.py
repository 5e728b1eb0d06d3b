"""Profiles and digests of what only a cluster can read: computed where the data lie, used here as if read here.

Called from the user's own Spark, Dask or Ray job, which hands its data set over. What comes back are bytes that hold
no rows; they must give the same baseline, window or manifest as the same data on one machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from assay.errors import UndecidedError, UsageError

if TYPE_CHECKING:
    import polars

    from assay.collect.profile.build import Built
    from assay.collect.profile.interface import Custom, Kind, Spec
    from assay.targets.interface import Manifest
    from assay.targets.local import LocalTarget


def profile(
    data: Any,
    *,
    baseline: str | None = None,
    like: bytes | None = None,
    seed: int | None = None,
    kinds: Mapping[str, Kind] | None = None,
    customs: Sequence[Custom] = (),
    least: int = 10,
) -> bytes:
    """The state of a data set on a cluster, to be written to a file.

    ``data`` is a `pyspark.sql.DataFrame`, `dask.dataframe.DataFrame` or `ray.data.Dataset`. With ``baseline`` (a file)
    or ``like`` (a state) it is a window of that; else the rules are chosen from its first rows, with ``seed`` (64 bits;
    None draws a secret one), ``kinds`` and ``customs``. Texts that were seen less often than ``least`` times are not in
    it. Raises `AssayError`.
    """
    from assay.collect.profile.engines import running
    from assay.collect.profile.partial import decode, publish

    if (baseline is not None) + (like is not None) + bool(seed or kinds) > 1:
        raise UsageError("a data set is profiled like a baseline, like a state, or by new rules: only one of them")
    if baseline is not None:
        from assay.watch.constraints.baseline import load

        spec = load(baseline).profile.spec
    elif like is not None:
        spec = decode(like).spec
    else:
        spec = running.specification(data, seed=seed, kinds=kinds, customs=customs)
    state = running.profile(data, spec, customs=customs)
    return publish(state, least=least) if least > 1 else state


def read(path: str) -> bytes:
    """A file with a state. Raises `UsageError`; whether it is a state is found out when it is used."""
    from assay.files import read_file
    from assay.watch.constraints.baseline import MAX_STATE

    return read_file(path, MAX_STATE)


def built(state: bytes, spec: Spec | None = None) -> Built:
    """A state as if it had been computed here. Raises `UsageError` if it was made by other rules than ``spec``."""
    from assay.collect.profile.build import Built
    from assay.collect.profile.partial import decode
    from assay.collect.profile.sources.interface import Notes, Origin

    found = decode(state)
    if spec is not None and found.spec != spec:
        raise UsageError(
            "the profile was made by other rules than the baseline's, so the two cannot be compared",
            hint="make it with assay.api.scaling.profile(data, baseline=FILE)",
        )
    return Built(state, found.spec, Notes(rows=found.rows), Origin("state"))


def files(place: str) -> polars.DataFrame:
    """The files of a folder that every worker sees under the same path, as a table to be spread over a cluster.

    Columns ``name``, ``size`` and ``path``, one row a file; for `manifest`.
    """
    import polars

    target = _folder(place)
    listing = target.listing
    paths = [listing.path(i) for i in range(len(listing.names))]
    return polars.DataFrame(
        {"name": listing.names, "size": list(listing.sizes), "path": paths},
        schema={"name": polars.String, "size": polars.Int64, "path": polars.String},
    )


def manifest(data: Any, place: str) -> Manifest:
    """The manifest of the folder ``place``, its files read by the workers: ``data`` is `files` as a cluster's data set.

    Equal to what one machine computes. Raises `AssayError`: a file that changes, is gone or cannot be read, and a list
    of files that is not the folder's any more.
    """
    from assay.collect.profile.engines.carrying import fold
    from assay.targets.digest.parts import Files, merge, read

    target = _folder(place)
    state = fold(data, Files(target.listing.root), merge)
    if state is None:
        raise UndecidedError(f"{place!r} has no files, or the cluster was given none of them")
    made = read(state)
    if list(made.names) != list(target.names) or made.sizes != target.sizes:
        raise UndecidedError(
            f"the digests are not those of all files of {place!r}", hint="give the cluster what files() lists, once"
        )
    return made


def _folder(place: str) -> LocalTarget:
    from assay.targets.local import LocalTarget
    from assay.targets.registry import resolve

    target = resolve(place)
    if not isinstance(target, LocalTarget) or target.single:
        raise UsageError(f"{place!r} is no folder that workers could read", hint="a folder on a shared file system")
    return target
