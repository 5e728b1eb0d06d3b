"""What holds the network of a step, and how its destinations are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from assay.guard.sandbox.interface import Network
from assay.guard.sandbox.network.holding import Mediation, Namespace, NoSockets, Nothing, Open

NETWORKS: Mapping[str, Callable[[], Network]] = {
    kind.name: kind for kind in (Namespace, Mediation, NoSockets, Open, Nothing)
}
"""By the name that a plan gives it."""
