"""A place with a key pair, an evidence directory, and files that the real libraries wrote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import assay
from assay.api.anchors import TrustIn
from assay.api.signers import SignWith
from assay.config import Config
from assay.evidence import keys
from assay.load import Loading


class Place:
    """Where a test happens."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.marker = root / "marker"
        made = keys.generate()
        (root / "key.pem").write_bytes(made.pem(None))
        (root / "key.pub").write_bytes(made.public.pem)
        self.store = str(root / "evidence")
        self.how = Loading(
            TrustIn((str(root / "key.pub"),)),
            directory=self.store,
            config=Config(),
        )

    def sign(self, path: Path, **more: Any) -> Path:
        assay.sign(str(path), signer_choice=SignWith(key=str(self.root / "key.pem")), directory=self.store, **more)
        return path

    def cached(self) -> Loading:
        return replace(self.how, trust_cache=True)

    def attack(self) -> Any:
        """An object whose pickle makes the marker file when it is loaded: harmless, and visible."""
        return Attack(str(self.marker))


class Attack:
    """Pickles to a call of `os.mkdir`."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        import os

        return os.mkdir, (self._path,)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)
