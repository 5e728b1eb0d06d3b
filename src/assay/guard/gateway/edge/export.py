"""From settings to an edge's files. Pure but for the files of address sets, which are read; writing is the caller's."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from assay.errors import UsageError
from assay.guard.gateway.edge import envoy, haproxy, nginx
from assay.guard.gateway.edge.plan import Place, Plan, plan
from assay.guard.gateway.settings import Settings

README = "README.md"
MARK = "Written by `assay gateway export`."
"""In each export's README: whoever finds it may write these files anew."""

EDGES: dict[str, Callable[[Plan], dict[str, bytes]]] = {
    "nginx": nginx.files,
    "haproxy": haproxy.files,
    "envoy": envoy.files,
}
_NOTES: dict[str, Callable[[Plan], tuple[str, ...]]] = {
    "nginx": nginx.notes,
    "haproxy": haproxy.notes,
    "envoy": envoy.notes,
}
_KEPT = {"nginx": (nginx.PUSHED,), "haproxy": (haproxy.PUSHED,), "envoy": ()}

_START = {
    "nginx": '    nginx -t -p "$PWD" -c nginx.conf && nginx -p "$PWD" -c nginx.conf',
    "haproxy": '    haproxy -c -C "$PWD" -f haproxy.cfg && haproxy -W -C "$PWD" -f haproxy.cfg',
    # Its log is a second behind, as nginx's is, and not ten.
    "envoy": "    envoy --mode validate -c envoy.yaml && envoy -c envoy.yaml --file-flush-interval-msec 1000",
}


@dataclass(frozen=True, slots=True)
class Export:
    """What is to be written into one folder."""

    files: Mapping[str, bytes]
    """By name, without folders."""
    notes: tuple[str, ...]
    """What the settings say and this edge does not do; each a sentence."""
    kept: tuple[str, ...]
    """Files that are only written where they are not there: the edge's state."""


def export(settings: Settings, edge: str, place: Place) -> Export:
    """Files for ``edge`` (``nginx``, ``haproxy``, ``envoy``). Raises `UsageError` for another, `DocumentError` naming
    the key of a value that cannot stand in a configuration.
    """
    if edge not in EDGES:
        raise UsageError(f"there is no edge {edge[:40]!r}", hint=f"there are: {', '.join(EDGES)}")
    made = plan(settings, place)
    notes = made.notes + _NOTES[edge](made)
    files = {**EDGES[edge](made), README: _readme(edge, made, notes).encode()}
    return Export(files, notes, _KEPT[edge])


def _started(made: Plan, service: str) -> str:
    """The command that answers the edge's questions; where routes go through the gateway, the one that does both."""
    config = shlex.quote(made.file)
    if made.gateway is None:
        return f"assay gateway service --config {config} --at {service}"
    listen = f"unix:{made.gateway.file}" if made.gateway.file else made.gateway.text
    return f"assay gateway --config {config} --listen {listen} --service {service}"


def _readme(edge: str, made: Plan, notes: tuple[str, ...]) -> str:
    service = f"unix:{made.service.file}" if made.service.file else made.service.text
    lines = [
        f"# {edge} in front of the model",
        "",
        f"{MARK} Change the gateway's file and export again; do not edit these files.",
        "",
        "Start the decision service where you exported, then check and start the edge in this folder:",
        "",
        f"    {_started(made, service)}",
        _START[edge],
        "",
        "- While the decision service does not answer, nothing passes: callers get 503.",
        "- The edge's account must be able to write to the service's socket (mode 660): put it (`--at`, and the "
        "export's `--service`) into a folder of that account's group, `chgrp GROUP DIR && chmod 2750 DIR`.",
        "- Callers' `Authorization`, API key and `Forwarded` headers end here. `X-Forwarded-For`, `X-Request-Id`, "
        "`X-Assay-Caller` and `X-Assay-User` are what the edge and the service know, whatever the caller sent.",
        "- The model server must be reached through this edge only.",
    ]
    if any(one.through for one in made.locations):
        lines.append(
            "- Routes that need bodies or answers go through the gateway itself. Name this edge in its "
            "`trusted-proxies` (`unix` for a unix socket), so that it believes `X-Forwarded-For`."
        )
    if made.secret:
        lines.append("- The decision service must know the secret: `service-secret: FILE` in the gateway file.")
    if edge == "nginx":
        lines.append(
            "- `pushed.conf` holds addresses that were denied later; `edges:` in the gateway file makes them count at "
            "once, `nginx -s reload` does so by hand."
        )
    if edge == "haproxy":
        lines.append("- `haproxy.sock` is the runtime API (mode 600): later denials go in by it, without a reload.")
    return "\n".join([*lines, "", "## What this edge does not do", "", *(f"- {note}" for note in notes), ""])
