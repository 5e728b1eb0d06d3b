from __future__ import annotations

import pytest

import gateway_edges as edges


@pytest.fixture(params=["nginx", "haproxy", "envoy"])
def kind(request: pytest.FixtureRequest) -> str:
    """All edges that run here."""
    if not edges.installed(request.param):
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)
