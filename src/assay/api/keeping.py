"""Which evidence store is meant: the caller's, the configuration's, or the user's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from assay.config import Config, default_evidence

if TYPE_CHECKING:
    from assay.evidence.bundle import Bundle
    from assay.evidence.stores.interface import Store
    from assay.targets.interface import Target


def store_path(directory: str | None, config: Config) -> str:
    """The evidence directory that is in force."""
    if directory is not None:
        return os.path.abspath(directory)
    return config.path(config.evidence) if config.evidence else default_evidence()


def open_store(directory: str | None = None, *, config: Config | None = None, create: bool = False) -> Store:
    """Open the evidence store: ``directory``, else the configuration's, else the user's own.

    Without ``create`` a directory that does not exist raises `UndecidedError`: there is no evidence.
    """
    from assay.config import load
    from assay.errors import UndecidedError
    from assay.evidence.stores import open_directory

    path = store_path(directory, config if config is not None else load(None))
    if not create and not os.path.isdir(path):
        raise UndecidedError(
            f"there is no evidence directory at {path}",
            hint="make evidence with 'assay bom TARGET -o attest' or 'assay sign MODEL', or name it with -d DIR",
        )
    return open_directory(path, create=create)


def keep(
    bundle: Bundle,
    target: Target,
    directory: str | None,
    config: Config,
    now: datetime,
    said: Mapping[str, Any],
) -> str:
    """Add a signed document about ``target`` to the store; the digest under which it lies there."""
    from assay.api.subjects import public_reference

    with open_store(directory, config=config, create=True) as store:
        return store.add(bundle.raw, now=now, labels=said.get("labels", {}), target=public_reference(target)).blob
