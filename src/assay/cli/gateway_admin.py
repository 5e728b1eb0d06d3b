"""`assay gateway status|callers|release|block|approve|reload|deny`: what an operator asks of a running gateway."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from assay.cli import printing
from assay.errors import DocumentError, UsageError

LEVELS = ("log", "slow", "harden", "approve", "block")
DEFAULT_CONFIG = "gateway.yaml"


def configure(actions: Any) -> None:
    """Add these to the actions of `assay gateway`."""

    def action(name: str, summary: str, run: Any) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = actions.add_parser(
            name, help=summary, description=summary[0].upper() + summary[1:] + "."
        )
        group = made.add_argument_group(f"which gateway (default: that of {DEFAULT_CONFIG})")
        group.add_argument("--admin", metavar="LISTEN", help="where its admin API is: unix:PATH or 127.0.0.1:PORT")
        group.add_argument("--token", metavar="FILE", help="file with its token")
        group.add_argument(
            "--config", default=argparse.SUPPRESS, metavar="FILE", help="its gateway.yaml, which names both"
        )
        made.add_argument("--json", action="store_true", help="the result as JSON on standard output")
        made.set_defaults(run=run)
        return made

    def named(name: str, summary: str, run: Any) -> argparse.ArgumentParser:
        made = action(name, summary, run)
        made.add_argument("key", metavar="KEY", help="a caller's id, owner:NAME or net:NETWORK, as 'callers' shows it")
        made.add_argument("--why", required=True, metavar="TEXT", help="the reason, for the record")
        return made

    action("status", "how a running gateway is; exit code 1 when it does not serve", status)
    action("callers", "who asks, how much, and who is treated otherwise than others", callers)
    block = named("block", "refuse a caller, or treat it otherwise with --level", block_caller)
    block.add_argument("--level", choices=LEVELS, default="block", help="how it is treated (default: block)")
    block.add_argument("--for", dest="span", metavar="SPAN", help="how long: 1h, 7d (default: until released)")
    named("release", "treat a caller as any other again", release)
    named("approve", "let a caller go on who waits for it", approve)
    action("reload", "read the configuration anew; a bad one changes nothing", reload)
    deny = action("deny", "refuse an address or network; without one: the list", deny_address)
    deny.add_argument("address", nargs="?", metavar="ADDRESS", help="192.0.2.1, 192.0.2.0/24, 2001:db8::/32")
    deny.add_argument("--why", metavar="TEXT", help="the reason, for the record")
    deny.add_argument("--for", dest="span", metavar="SPAN", help="how long: 1h, 7d (default: until removed)")
    deny.add_argument("--remove", action="store_true", help="take it from the list")


def status(parsed: argparse.Namespace) -> int:
    """How it is."""
    health, proof = _call(parsed, "GET", "/v1/health"), _call(parsed, "GET", "/v1/proof")
    if parsed.json:
        printing.as_json({"health": health, "proof": proof})
    else:
        ready = health["ready"]
        word = printing.coloured("serving", "green") if ready else printing.coloured("not serving", "red")
        print(f"{word}, {printing.counted(health['workers'], 'worker')}")
        if proof["verdict"] == "none":
            printing.line("model: none is named that would have to be proved")
        else:
            model = proof["version"][:16] or "unknown"
            printing.line(f"model {model}: {proof['verdict']}{', ' + proof['reason'] if proof['reason'] else ''}")
        for problem in health["problems"]:
            if problem != proof["reason"]:
                printing.line(f"problem: {problem}")
    return 0 if health["ready"] else 1


def callers(parsed: argparse.Namespace) -> int:
    """Who asks."""
    found = _call(parsed, "GET", "/v1/callers")["callers"]
    standings = _call(parsed, "GET", "/v1/standings")["standings"]
    if parsed.json:
        printing.as_json({"callers": found, "standings": standings})
        return 0
    told = {one["key"] for one in standings}
    for one in found:
        if not one["requests"] and one["id"] in told:
            continue  # an owner, a network, or somebody who has not asked since the start: below is what is known
        of = f" ({one['owner']})" if one["owner"] not in ("", one["id"]) else ""
        scores = ", ".join(f"{name} {value:.2f}" for name, value in one["scores"].items() if value is not None)
        printing.line(
            f"{one['level']:8} {one['id']}{of}  {one['requests']:,} requests ({one['refused']:,} refused), "
            f"{one['rows']:,} rows, {one['tokens']:,} tokens{'  ' + scores if scores else ''}"
        )
    for one in standings:
        printing.line(f"{one['level']:8} {one['key']}  {_until(one['until'])}: {one['why']}")
    if not found and not standings:
        printing.note("nobody has asked yet")
    return 0


def block_caller(parsed: argparse.Namespace) -> int:
    """Treat a caller otherwise."""
    body = {"key": parsed.key, "level": parsed.level, "why": parsed.why, "seconds": _seconds(parsed.span)}
    made = _call(parsed, "POST", "/v1/standings/set", body)
    return _tell(parsed, made, f"{made['key']}: {made['level']}, {_until(made['until'])}")


def release(parsed: argparse.Namespace) -> int:
    """Treat it as any other."""
    done = _call(parsed, "POST", "/v1/standings/release", {"key": parsed.key, "why": parsed.why})
    return _tell(parsed, done, f"released {parsed.key}")


def approve(parsed: argparse.Namespace) -> int:
    """Let it go on."""
    done = _call(parsed, "POST", "/v1/standings/approve", {"key": parsed.key, "why": parsed.why})
    return _tell(parsed, done, f"approved {parsed.key}")


def reload(parsed: argparse.Namespace) -> int:
    """Read the configuration anew."""
    done = _call(parsed, "POST", "/v1/reload", {})
    return _tell(parsed, done, "\n".join(["reloaded", *done["notes"]]))


def deny_address(parsed: argparse.Namespace) -> int:
    """Refuse an address, or show the list."""
    if parsed.address is None:
        if parsed.remove or parsed.why or parsed.span:
            raise UsageError("there is no address to do that with", hint="assay gateway deny ADDRESS --why TEXT")
        found = _call(parsed, "GET", "/v1/denied")
        lines = [f"{one['address']}  {_until(one['until'])}: {one['why']}" for one in found["denied"]]
        return _tell(parsed, found, "\n".join(lines) or "no address was added to those of the configuration")
    if parsed.remove:
        done = _call(parsed, "POST", "/v1/denied/remove", {"address": parsed.address})
        return _tell(parsed, done, f"{parsed.address} is refused no longer")
    if not parsed.why:
        raise UsageError("--why is needed", hint="whoever looks at the list in a year will ask")
    body = {"address": parsed.address, "why": parsed.why, "seconds": _seconds(parsed.span)}
    made = _call(parsed, "POST", "/v1/denied", body)
    return _tell(parsed, made, f"{made['address']} is refused, {_until(made['until'])}")


def _call(parsed: argparse.Namespace, method: str, path: str, body: Any = None) -> Any:
    from assay.guard.gateway.admin import client, places

    listen, token = parsed.admin, parsed.token
    if listen is None or token is None:
        from assay.guard.gateway import settings

        try:
            configured = places.configured(settings.load(parsed.config or DEFAULT_CONFIG))
        except UsageError as error:
            if parsed.config is not None:
                raise
            raise UsageError(
                f"which gateway? {error.message}", hint="--config FILE, or --admin LISTEN with --token FILE"
            ) from None
        except DocumentError as error:
            told = f"{error.hint}; " if error.hint else ""
            raise DocumentError(
                error.message, hint=f"{told}a running gateway also answers to --admin LISTEN with --token FILE"
            ) from None
        listen, token = listen or configured[0], token or configured[1]
    return client.call(listen, token, method, path, body)


def _tell(parsed: argparse.Namespace, document: Any, text: str) -> int:
    if parsed.json:
        printing.as_json(document)
    else:
        printing.line(text)
    return 0


def _until(until: float | None) -> str:
    if until is None:
        return "until a person ends it"
    try:
        return f"until {datetime.fromtimestamp(until, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return f"until {until:g}"


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    from assay.policy import durations

    try:
        return durations.parse(text).total_seconds()
    except DocumentError:
        raise UsageError(f"--for {text[:40]!r} is no span of time", hint="write 30m, 12h or 7d") from None
