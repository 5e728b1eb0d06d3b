"""Stores of evidence: where signed bundles are kept and found again. A store proves nothing about what it keeps.

Importing this package loads neither SQLite nor an implementation; that happens when a store is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.evidence.stores.interface import Store


def open_directory(path: str, *, create: bool, heads: str | None = None) -> Store:
    """The store in the folder ``path``, made when it is not there and ``create`` is given. Close it after use.

    ``heads`` is the file that remembers the newest entry that this user saw in each store; the default is
    ``$XDG_STATE_HOME/assay/heads.json``. Raises `UndecidedError` where there is no store, `StoreError` where it
    cannot be opened.
    """
    from assay.evidence.stores.directory import DirectoryStore

    return DirectoryStore(path, create=create, heads=heads)
