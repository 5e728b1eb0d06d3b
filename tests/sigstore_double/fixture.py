"""The double as a fixture: name this module in ``pytest_plugins``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sigstore_double.server import Server, running


@pytest.fixture(scope="session")
def sigstore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One deployment for all tests; each makes its own identities and switches its own faults off again."""
    with running(tmp_path_factory.mktemp("sigstore")) as server:
        yield server
