"""`assay gateway keys create|list|rotate|revoke|show`: API keys of the gateway's callers.

A key is shown once, when it is made, on standard output or in a file that only its owner reads. The gateway sees a
changed file within about a second.
"""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from assay.cli import printing
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.guard.gateway.callers.keys import Key
    from assay.guard.gateway.interface import Permission

DEFAULT = "gateway-keys.json"
"""Where keys are kept when neither --file nor a gateway file says it."""


def configure(actions: Any) -> None:
    """Add ``keys`` to the actions of `assay gateway`."""
    keys = actions.add_parser(
        "keys",
        help="API keys: create, list, rotate, revoke, show",
        description="API keys of callers. A key is shown once; a running gateway knows of a change within a second.",
    )
    verbs = keys.add_subparsers(dest="verb", metavar="ACTION", required=True)

    def verb(name: str, summary: str, run: Any, *, id: bool = False, makes: bool = False) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = verbs.add_parser(
            name, help=summary, description=summary[0].upper() + summary[1:] + "."
        )
        if id:
            made.add_argument("id", metavar="ID", help="the key's id: 'list' shows it, and the access log")
        if makes:
            made.add_argument(
                "-O", "--output-file", metavar="FILE", help="write the key here (mode 600) instead of printing it"
            )
            made.add_argument("--expires", metavar="SPAN", help="how long it lives: 90d, 12h")
        made.add_argument("-f", "--file", metavar="FILE", help=f"the file of keys (default: {DEFAULT})")
        made.add_argument(
            "--config", default=argparse.SUPPRESS, metavar="FILE", help="gateway.yaml, which names the file of keys"
        )
        made.add_argument("--json", action="store_true", help="the result as JSON on standard output")
        made.set_defaults(run=run)
        return made

    create = verb("create", "make a key for somebody", create_key, makes=True)
    create.add_argument("--owner", required=True, metavar="WHO", help="whom it is for: a team, a customer")
    create.add_argument("--user", default="", metavar="WHO", help="who stands in the access log (default: the owner)")
    create.add_argument("--plan", default="default", metavar="NAME", help="usage plan (default: default)")
    create.add_argument("--group", action="append", default=[], metavar="NAME", help="a scope, for rules (repeatable)")
    create.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="WHAT",
        help="only this: protocol=GLOB,model=GLOB,version=GLOB,verb=GLOB, each optional (repeatable; default: all)",
    )
    rotate = verb("rotate", "make a successor for a key, which goes on for a while", rotate_key, id=True, makes=True)
    rotate.add_argument("--overlap", default="24h", metavar="SPAN", help="how long the old one goes on (default: 24h)")
    verb("revoke", "take a key back, at once and for good", revoke_key, id=True)
    verb("list", "all keys, and what they are worth", list_keys)
    verb("show", "what one key may do", show_key, id=True)


def create_key(parsed: argparse.Namespace) -> int:
    """Make a key."""
    from assay.guard.gateway.callers import keys

    permissions = tuple(map(_permission, parsed.allow))
    lifetime = _span(parsed.expires, "--expires")
    path = _file(parsed, new=True)
    _known_plan(parsed)
    _free(parsed.output_file)

    def how(file: keys.KeyFile) -> tuple[keys.KeyFile, tuple[Key, str]]:
        more: dict[str, Any] = {"permissions": permissions} if permissions else {}
        changed, key, secret = keys.create(
            file,
            _now(),
            parsed.owner,
            user=parsed.user,
            plan=parsed.plan,
            groups=tuple(parsed.group),
            lifetime=lifetime,
            **more,
        )
        return changed, (key, secret)

    return _tell(parsed, *keys.change(path, how), "made")


def rotate_key(parsed: argparse.Namespace) -> int:
    """Make a successor."""
    from assay.guard.gateway.callers import keys

    overlap, lifetime = _span(parsed.overlap, "--overlap"), _span(parsed.expires, "--expires")
    assert overlap is not None
    path = _file(parsed)
    _free(parsed.output_file)

    def how(file: keys.KeyFile) -> tuple[keys.KeyFile, tuple[Key, str]]:
        changed, key, secret = keys.rotate(file, parsed.id, _now(), overlap, lifetime=lifetime)
        return changed, (key, secret)

    return _tell(parsed, *keys.change(path, how), f"rotated {parsed.id}, which goes on for {parsed.overlap}:")


def revoke_key(parsed: argparse.Namespace) -> int:
    """Take a key back."""
    from assay.guard.gateway.callers import keys

    keys.change(_file(parsed), lambda file: (keys.revoke(file, parsed.id, _now()), None))
    if parsed.json:
        printing.as_json({"revoked": parsed.id})
    else:
        printing.line(f"revoked {parsed.id}; a running gateway refuses it within about a second")
    return 0


def list_keys(parsed: argparse.Namespace) -> int:
    """List."""
    from assay.guard.gateway.callers import keys

    path = _file(parsed)
    found = keys.read(path).keys
    if parsed.json:
        printing.as_json({"keys": list(map(_document, found))})
        return 0
    for key in found:
        printing.line(f"{key.id}  {_state(key):8}  {key.owner}  plan {key.plan}{_ends(key)}")
    if not found:
        printing.note("there are no keys")
    if keys.readable(path):
        printing.note(f"others may read {path}: chmod 600 {path}")
    return 0


def show_key(parsed: argparse.Namespace) -> int:
    """Show one."""
    from assay.guard.gateway.callers import keys

    key = keys.find(keys.read(_file(parsed)), parsed.id)
    if parsed.json:
        printing.as_json(_document(key))
        return 0
    printing.line(f"{key.id}  {_state(key)}{_ends(key)}")
    printing.line(f"  owner {key.owner}, user {key.user or key.owner}, caller key:{key.caller}, plan {key.plan}")
    printing.line(f"  created {_time(key.created)}" + (f", groups {', '.join(key.groups)}" if key.groups else ""))
    for one in key.permissions:
        printing.line(f"  may: protocol {one.protocol}, model {one.model}, version {one.version}, verb {one.verb}")
    if not key.permissions:
        printing.line("  may do nothing")
    return 0


def _tell(parsed: argparse.Namespace, key: Key, secret: str, what: str) -> int:
    """Hand out a new key, this once."""
    if parsed.output_file:
        from assay.files import write_atomic

        try:
            write_atomic(parsed.output_file, secret.encode() + b"\n", mode=0o600, exclusive=True)
        except FileExistsError:
            raise UsageError(
                f"{parsed.output_file} exists already; key {key.id} was made and nobody has it",
                hint=f"assay gateway keys revoke {key.id}",
            ) from None
    if parsed.json:
        printing.as_json(_document(key) | ({} if parsed.output_file else {"key": secret}))
        return 0
    printing.note(f"{what} {key.id} for {key.owner}, plan {key.plan}{_ends(key)}")
    if parsed.output_file:
        printing.line(f"the key is in {printing.place(parsed.output_file)} and nowhere else")
    else:
        printing.line(secret)
        printing.note("this is shown once: nothing keeps it but whoever you give it to")
    return 0


def _file(parsed: argparse.Namespace, *, new: bool = False) -> str:
    """The file of keys."""
    path = parsed.file
    if path is None and parsed.config is not None:
        from assay.guard.gateway import settings

        configured = settings.load(parsed.config)
        if configured.callers.keys is None:
            raise UsageError(f"{parsed.config} names no file of keys", hint="callers: {keys: gateway-keys.json}")
        path = configured.path(configured.callers.keys)
    path = path or DEFAULT
    if not new and not os.path.lexists(path):
        raise UsageError(f"there is no file of keys {path}", hint="'assay gateway keys create' makes it; -f names one")
    return str(path)


def _known_plan(parsed: argparse.Namespace) -> None:
    """A key of a plan that nobody has is refused by the gateway; better to say it now."""
    if parsed.config is not None:
        from assay.guard.gateway import settings

        plans = settings.load(parsed.config).plans
        if parsed.plan not in plans:
            raise UsageError(
                f"there is no plan {parsed.plan!r} in {parsed.config}", hint=f"there are: {', '.join(plans)}"
            )


def _free(path: str | None) -> None:
    """Before a key is made: whether it can be handed out."""
    if path is not None:
        from assay.files import require_folder

        require_folder(path)
        if os.path.lexists(path):
            raise UsageError(f"{path} exists already", hint="keys never replace a file; name another with -O")


def _permission(text: str) -> Permission:
    import msgspec

    from assay.guard.gateway.interface import Permission

    parts = [part.partition("=") for part in text.split(",")]
    named = {name.strip(): value.strip() for name, _, value in parts}
    try:
        if not all(named.values()) or len(named) != len(parts):
            raise msgspec.ValidationError("each part is NAME=GLOB, once")
        _meant(named)
        return msgspec.convert(named, Permission)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"--allow {text[:100]!r} is no permission: {error}", hint="such as --allow protocol=openai,model=small-*"
        ) from None


def _meant(named: dict[str, str]) -> None:
    """Raise `UsageError` for a verb or protocol that there is none of: such a key could do nothing."""
    from fnmatch import fnmatchcase
    from typing import get_args, get_type_hints

    from assay.guard.gateway.interface import Verb
    from assay.guard.gateway.settings.serving import RouteSettings

    known = {"verb": tuple(map(str, Verb)), "protocol": get_args(get_type_hints(RouteSettings)["protocol"])}
    for name, values in known.items():
        if name in named and not any(fnmatchcase(value, named[name]) for value in values):
            raise UsageError(
                f"--allow: there is no {name} {named[name][:60]!r}", hint=f"there are: {', '.join(values)}"
            )


def _span(text: str | None, flag: str) -> timedelta | None:
    if text is None:
        return None
    from assay.errors import DocumentError
    from assay.policy import durations

    try:
        return timedelta(0) if text == "0" else durations.parse(text)
    except DocumentError:
        raise UsageError(f"{flag} {text[:40]!r} is no span of time", hint="write 90d, 12h or 30m") from None


def _now() -> datetime:
    return datetime.now(UTC)


def _state(key: Key) -> str:
    from assay.guard.gateway.callers import keys

    if key.revoked is not None:
        return "revoked"
    if keys.until(key) <= _now().timestamp():
        return "expired"
    return "rotated" if key.replaced_by else "good"


def _ends(key: Key) -> str:
    if key.revoked is not None:
        return f", revoked {_time(key.revoked)}"
    after = f", replaced by {key.replaced_by}" if key.replaced_by else ""
    return after + (f", until {_time(key.expires)}" if key.expires else "")


def _time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _document(key: Key) -> dict[str, Any]:
    """Without the digest, which is of use to nobody but the gateway."""
    return {
        "id": key.id,
        "caller": f"key:{key.caller}",
        "owner": key.owner,
        "user": key.user or key.owner,
        "plan": key.plan,
        "state": _state(key),
        "groups": list(key.groups),
        "permissions": [
            {"protocol": one.protocol, "model": one.model, "version": one.version, "verb": one.verb}
            for one in key.permissions
        ],
        "created": _time(key.created),
        "expires": _time(key.expires) if key.expires else None,
        "revoked": _time(key.revoked) if key.revoked else None,
        "replacedBy": key.replaced_by,
    }
