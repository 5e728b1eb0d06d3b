"""`assay gateway export nginx|haproxy|envoy`."""

from __future__ import annotations

import argparse
import os
from typing import Any

from assay.cli import printing
from assay.errors import UsageError


def configure(actions: Any) -> None:
    """The command's flags."""
    made = actions.add_parser(
        "export",
        help="a tested configuration of nginx, HAProxy or Envoy that asks the decision service",
        description="Write a configuration of nginx, HAProxy or Envoy from the gateway's file: it asks the decision "
        "service about each request, and passes on nothing while that does not answer.",
    )
    made.add_argument("edge", choices=("nginx", "haproxy", "envoy"))
    made.add_argument("--config", default=argparse.SUPPRESS, metavar="FILE", help="the gateway's file")
    made.add_argument("-O", "--output-folder", required=True, metavar="DIR", help="folder that is written (made)")
    made.add_argument(
        "--service",
        metavar="PLACE",
        help="the decision service: unix:/PATH (default: gateway.sock beside the file) or 127.0.0.1:PORT",
    )
    made.add_argument(
        "--gateway",
        default="",
        metavar="URL",
        help="the gateway itself (http://HOST:PORT, unix:/PATH), for routes whose bodies or answers it has to read",
    )
    made.add_argument("--secret", metavar="FILE", help="file with what the service asks for on a loopback address")
    made.add_argument("--user", default="", metavar="NAME", help="account that the edge's workers run as")
    made.add_argument("--json", action="store_true", help="files and notes as JSON on standard output")
    made.set_defaults(run=export)


def export(parsed: argparse.Namespace) -> int:
    """Write the files; existing lists of denied addresses stay."""
    from assay.files import read_file, write_atomic
    from assay.guard.gateway.edge import Place
    from assay.guard.gateway.edge import export as make
    from assay.guard.gateway.settings import load

    if parsed.config is None:
        raise UsageError("an export is made from a gateway file", hint="--config gateway.yaml")
    settings = load(parsed.config)
    service = parsed.service or "unix:" + settings.path("gateway.sock")
    place = parsed.secret or (settings.path(settings.service_secret) if settings.service_secret else None)
    secret = read_file(place, 4096).decode("ascii", "replace").strip() if place else ""
    made = make(settings, parsed.edge, Place(service, parsed.gateway, secret, parsed.user, parsed.config))
    folder = parsed.output_folder
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise UsageError(f"{folder} is no folder", hint="name one with -O; it is made where it is not there")
    _own(folder, list(made.files))
    os.makedirs(folder, exist_ok=True)
    written = []
    for name, data in made.files.items():
        path = os.path.join(folder, name)
        if name in made.kept and os.path.isfile(path):
            continue
        # What knows the secret is nobody else's to read.
        write_atomic(path, data, mode=0o600 if secret and secret.encode() in data else 0o644)
        written.append(path)
    for note in made.notes:
        printing.note(f"note: {note}")
    if parsed.edge == "nginx" and service.startswith("unix:") and not parsed.user and os.geteuid() == 0:
        printing.note("note: Started by root, nginx's workers are 'nobody', who may not ask the service: see --user.")
    if parsed.json:
        printing.as_json({"edge": parsed.edge, "files": written, "notes": list(made.notes), "service": service})
        return 0
    for path in written:
        printing.line(f"wrote {printing.place(path)}")
    printing.line(f"how to run it: {printing.place(os.path.join(folder, 'README.md'))}")
    return 0


def _own(folder: str, names: list[str]) -> None:
    """Raise `UsageError` where files of somebody else would be written over: a README, an edge's own."""
    from assay.files import read_file
    from assay.guard.gateway.edge.export import MARK, README

    there = [name for name in names if os.path.lexists(os.path.join(folder, name))]
    readme = os.path.join(folder, README)
    if there and not (os.path.isfile(readme) and MARK.encode() in read_file(readme)):
        raise UsageError(
            f"{os.path.join(folder, there[0])} was not written by 'assay gateway export'",
            hint="name a folder of its own with -O; it is made where it is not there",
        )
