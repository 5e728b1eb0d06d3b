"""`assay gateway`: the prediction API behind a guard, at once or by a file; and what looks after it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from assay.cli import printing
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.api.serving import Judged
    from assay.guard.gateway.settings import Settings

PARTS = ("gateway_keys", "gateway_admin", "gateway_export", "gateway_learn", "gateway_simulate")
"""Modules of this folder with further actions."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags and actions."""
    _serving(parser)
    parser.set_defaults(run=serve)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=False)
    check = actions.add_parser(
        "check",
        help="read a gateway file, prove its model, and serve nothing",
        description="Read a gateway file and all that it names, prove its model, and serve nothing. Exit code 0: it "
        "would be served, 1: the policy rejects the model, 2: the file is wrong, 3: the model could not be judged.",
    )
    check.add_argument("--config", default=argparse.SUPPRESS, metavar="FILE", help="the gateway file")
    check.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    check.set_defaults(run=check_file)
    service = actions.add_parser(
        "service",
        help="only decide, for an nginx, HAProxy or Envoy that asks",
        description="Decide for an nginx, HAProxy or Envoy that asks: see 'assay gateway export', which writes its "
        "configuration.",
    )
    service.add_argument("--config", default=argparse.SUPPRESS, metavar="FILE", help="the gateway file")
    service.add_argument(
        "--at", metavar="unix:PATH", default="unix:gateway.sock", help="where it is asked (default: unix:gateway.sock)"
    )
    service.set_defaults(run=decide)
    for part in PARTS:
        import_module(f"assay.cli.{part}").configure(actions)


def _serving(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="the gateway file; flags count more than its keys")
    parser.add_argument("--upstream", metavar="URL", help="the model server: http://HOST:PORT, https://, unix:PATH")
    parser.add_argument("--listen", action="append", metavar="HOST:PORT", help="default 127.0.0.1:8000 (repeatable)")
    parser.add_argument("--rate", metavar="N/TIME", help="requests of one caller: 100/60s")
    parser.add_argument("--access-log", metavar="FILE", help="JSON lines; - for standard output")
    parser.add_argument("--capture", metavar="FOLDER", help="keep inputs and outputs there, for 'assay monitor'")
    parser.add_argument("--api-keys", metavar="FILE", help="demand an API key: see 'assay gateway keys'")
    parser.add_argument("--model", metavar="TARGET", help="the model that is served: nothing is, unless it is proved")
    parser.add_argument("-p", "--policy", metavar="POLICY", help="what the model must satisfy; with --model")
    parser.add_argument("--key", action="append", metavar="FILE", help="public key that is trusted; with --model")
    parser.add_argument("-d", "--directory", metavar="DIR", help="evidence directory; with --model")
    parser.add_argument("--state", metavar="FOLDER", help="counters and standings (default gateway-state)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default 1)")
    parser.add_argument("--service", metavar="unix:PATH", help="answer the edge's questions there, too")


def serve(parsed: argparse.Namespace) -> int:
    """The embedded proxy, until SIGTERM or Ctrl-C."""
    if parsed.config is None and parsed.upstream is None:
        raise UsageError(
            "a gateway stands in front of a model server",
            hint="assay gateway --upstream http://127.0.0.1:8080, or --config gateway.yaml",
        )
    return _run(_loader(parsed), service=_absolute(parsed.service))


def decide(parsed: argparse.Namespace) -> int:
    """The decision service alone."""
    return _run(_loader(_of_a_file(parsed)), service=_absolute(parsed.at), proxy=False)


def check_file(parsed: argparse.Namespace) -> int:
    """What would be served, and whether it would."""
    from assay.api.serving import judge
    from assay.guard.gateway.running import checking, rooms

    rooms.require_extra()
    read = _loader(_of_a_file(parsed))()
    proxied = bool(read.upstream) or any(route.upstream is not None for route in read.routes)
    notes = checking.check_gateway(read, proxy=proxied)
    judged = judge(read) if read.model is not None else None
    if parsed.json:
        printing.as_json(
            {
                "listen": list(read.listen),
                "upstream": read.upstream,
                "routes": [route.protocol for route in read.routes],
                "plans": list(read.plans),
                "rules": [rule.id for rule in read.rules],
                "notes": list(notes),
                "model": None
                if judged is None
                else {
                    "version": judged.version,
                    "problem": judged.problem,
                    "proved": not judged.problem,
                    "warnings": list(judged.warnings),
                },
            }
        )
    else:
        printing.line(f"{parsed.config} is a gateway file: {len(read.routes)} route(s), {len(read.rules)} rule(s)")
        if not proxied:
            printing.line("  upstream   none: for the decision service and the middleware alone")
        if judged is not None:
            printing.line(f"  model      {read.model.target if read.model else ''}: {judged.problem or 'proved'}")
            printing.line(f"  version    {judged.version or 'unknown'}")
            for warning in judged.warnings:
                printing.line(f"  warning    {warning}")
        for note in notes:
            printing.line(f"  note       {note}")
    return judged.exit_code if judged is not None else 0


def _run(load: Callable[[], Settings], *, service: str | None, proxy: bool = True) -> int:
    from assay.api.serving import judge, prover
    from assay.guard.gateway.running import checking, rooms
    from assay.guard.gateway.running.keeper import warn
    from assay.guard.gateway.running.processes import apart
    from assay.guard.gateway.running.supervisor import Supervisor

    rooms.require_extra()

    def check(settings: Settings) -> None:
        for note in checking.check_gateway(settings, service, proxy):
            printing.note(f"assay: {note}")

    def looked_at() -> tuple[Settings, Judged | None]:
        read = load()
        check(read)
        return read, judge(read) if read.model is not None else None

    settings, judged = apart(looked_at)
    for warning in judged.warnings if judged is not None else ():
        printing.note(f"assay: {warning}")
    if judged is not None and judged.problem and settings.model is not None:
        refuses = settings.model.unproved == "refuse"
        word = "is not served" if refuses else "is served although it is not proved"
        printing.note(f"assay: {settings.model.target} {word}: {judged.problem}")
        if refuses:
            return judged.exit_code
    ready = _ready(settings, service)
    return Supervisor(settings, load, check, lambda read: prover(read, warn), ready, service, proxy).run()


def _absolute(place: str | None) -> str | None:
    """A unix socket's path starts here, whatever folder a worker is in."""
    if place is None or not place.startswith("unix:"):
        return place
    return f"unix:{os.path.abspath(place.removeprefix('unix:'))}"


def _ready(settings: Settings, service: str | None) -> Callable[[Sequence[str]], None]:
    def ready(addresses: Sequence[str]) -> None:
        scheme = "https" if settings.tls is not None else "http"
        where = [f"{scheme}://{one}" if not one.startswith("unix:") else one for one in addresses if one != service] + (
            [f"{service} (decisions)"] if service else []
        )
        printing.note(f"assay: the gateway listens on {', '.join(where)}")

    return ready


def _of_a_file(parsed: argparse.Namespace) -> argparse.Namespace:
    if parsed.config is None:
        raise UsageError(f"which gateway file? 'assay gateway {parsed.action}' reads one", hint="--config gateway.yaml")
    return parsed


def _loader(parsed: argparse.Namespace) -> Callable[[], Settings]:
    """Reads the configuration; each call reads it anew, so that it can be called for a reload."""
    from assay.api.serving import read
    from assay.guard.gateway import settings

    over = _over(parsed)
    if parsed.config is not None:
        path = parsed.config
        return lambda: read(path, over)
    folder = os.getcwd()
    return lambda: settings.convert({"callers": {"anonymous": "default"}} | over, "the command line", folder)


def _over(parsed: argparse.Namespace) -> dict[str, Any]:
    """Flags as keys of the file; relative paths start here, not at the file's folder."""
    here = os.path.abspath
    over: dict[str, Any] = {}
    if parsed.upstream is not None:
        over["upstream"] = _absolute(parsed.upstream)
    if parsed.listen:
        over["listen"] = list(map(_absolute, parsed.listen))
    if parsed.rate is not None:
        over["plans"] = {"default": {"rate": parsed.rate}}
    if parsed.access_log is not None:
        over["log"] = {"file": parsed.access_log if parsed.access_log == "-" else here(parsed.access_log)}
    if parsed.capture is not None:
        over["capture"] = {"folder": here(parsed.capture)}
    if parsed.api_keys is not None:
        over["callers"] = {"keys": here(parsed.api_keys)}
    if parsed.state is not None:
        over["state"] = here(parsed.state)
    if parsed.workers is not None:
        over["workers"] = parsed.workers
    if parsed.model is not None:
        model = {
            "target": parsed.model if ":" in parsed.model else here(parsed.model),
            "policy": parsed.policy if parsed.policy is None or ":" in parsed.policy else here(parsed.policy),
            "keys": [here(key) for key in parsed.key or ()],
            "evidence": here(parsed.directory) if parsed.directory is not None else None,
        }
        over["model"] = {name: value for name, value in model.items() if value}
    elif parsed.policy is not None or parsed.key or parsed.directory is not None:
        raise UsageError("--policy, --key and -d are about the model that is served", hint="name it with --model")
    return over
