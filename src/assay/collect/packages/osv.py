"""Known vulnerabilities of locked packages, from an OSV export on disk or a server that speaks OSV's API.

Source: ossf.github.io/osv-schema, google.github.io/osv.dev ("POST /v1/query"). Records are a stranger's bytes. A record
whose range cannot be evaluated counts as concerning the version.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from packaging.version import InvalidVersion, Version

from assay.collect.packages.files import name_of
from assay.collect.packages.findings import clean
from assay.collect.packages.locks import Locked
from assay.errors import AssayError, DocumentError, UndecidedError, UsageError
from assay.evidence import strict_json
from assay.targets.oci.web import TIMEOUT, is_loopback, reason

MAX_RECORD = 16 << 20
"""Bytes of the largest record or answer that is read."""
MAX_RECORDS = 1_000_000
"""Records that are read of one export; PyPI's has some 20,000."""
_MAX_PAGES = 50


@dataclass(frozen=True, slots=True)
class Known:
    """One vulnerability of one locked package."""

    id: str
    aliases: tuple[str, ...]
    package: str
    """``name==version``."""
    severities: tuple[tuple[str, str], ...] = ()
    """(scale, level or vector) as the record states them."""
    fixed: tuple[str, ...] = ()
    """Versions that mend it."""
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found."""

    known: tuple[Known, ...]
    updated: datetime | None
    """The newest record's time; None when the source does not tell."""
    where: str
    """What was asked: ``OSV export``, or the server's host."""


def ask(source: str, packages: Sequence[Locked], now: datetime) -> Answer:
    """Vulnerabilities of ``packages`` by ``source``, a file (``.zip``, ``.json``), a folder, or an address.

    Raises `UndecidedError` when the source is out of reach, `DocumentError` when it is not OSV's form.
    """
    if "://" in source:
        return _server(source, packages, now)
    wanted: dict[str, list[Locked]] = {}
    for package in packages:
        wanted.setdefault(package.name, []).append(package)
    found: list[Known] = []
    updated: datetime | None = None
    count = 0
    for data, what in _records(source):
        count += 1
        record = strict_json.loads(data, what, max_bytes=MAX_RECORD)
        if not isinstance(record, dict) or not isinstance(record.get("id"), str):
            raise DocumentError(f"{what} is no OSV record")
        time = _time(record.get("modified"))
        updated = max(filter(None, (updated, time)), default=None)
        found += _matches(record, wanted)
    if not count:
        raise UsageError(f"{source} holds no OSV record")
    return Answer(_merged(found), updated, "OSV export")


def _records(path: str) -> Iterator[tuple[bytes, str]]:
    """The records of an export."""
    try:
        if os.path.isdir(path):
            for name in sorted(os.listdir(path)):
                if name.endswith(".json"):
                    with open(os.path.join(path, name), "rb") as file:
                        yield file.read(MAX_RECORD + 1), name
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                entries = [entry for entry in archive.infolist() if entry.filename.endswith(".json")]
                if len(entries) > MAX_RECORDS or any(entry.file_size > MAX_RECORD for entry in entries):
                    raise DocumentError(f"{path} holds more than an export of OSV does")
                for entry in entries:
                    yield archive.read(entry), clean(entry.filename)
        else:
            with open(path, "rb") as file:
                yield file.read(MAX_RECORD + 1), path
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (zipfile.BadZipFile, RuntimeError, EOFError) as error:
        raise DocumentError(f"{path} is a damaged archive: {clean(error, 80)}") from None


def _matches(record: Mapping[str, Any], wanted: Mapping[str, Sequence[Locked]]) -> Iterator[Known]:
    if record.get("withdrawn"):
        return
    for affected in _dicts(record.get("affected")):
        package = affected.get("package")
        if not isinstance(package, dict) or str(package.get("ecosystem", "")).partition(":")[0] != "PyPI":
            continue
        try:
            name = name_of(str(package.get("name")))
        except AssayError:
            continue
        for locked in wanted.get(name, ()):
            if _concerns(affected, locked.version):
                yield _known(record, affected, locked)


def _known(record: Mapping[str, Any], affected: Mapping[str, Any], locked: Locked) -> Known:
    scores = [*_dicts(record.get("severity")), *_dicts(affected.get("severity"))]
    severities = [(clean(item.get("type"), 40), clean(item.get("score"), 200)) for item in scores]
    for place in (record, affected):
        specific = place.get("database_specific")
        if isinstance(specific, dict) and isinstance(specific.get("severity"), str):
            severities.append(("osv", clean(specific["severity"], 40)))
    events = [event for span in _dicts(affected.get("ranges")) for event in _dicts(span.get("events"))]
    fixed = tuple(dict.fromkeys(clean(event["fixed"], 60) for event in events if "fixed" in event))
    aliases = record.get("aliases")
    return Known(
        clean(record.get("id"), 100),
        tuple(clean(alias, 100) for alias in (aliases if isinstance(aliases, list) else ())),
        locked.pin,
        tuple(dict.fromkeys(severities)),
        fixed,
        clean(record.get("summary") or "", 200),
    )


def _concerns(affected: Mapping[str, Any], text: str) -> bool:
    """OSV schema, "Evaluation": listed, or inside of a range; what cannot be compared concerns."""
    version = Version(Version(text).public)  # a build such as +cpu is no release of its own
    listed = affected.get("versions")
    for one in listed if isinstance(listed, list) else ():
        try:
            if Version(str(one)) == version:
                return True
        except InvalidVersion:
            continue
    ranges = [span for span in _dicts(affected.get("ranges")) if span.get("type") in ("ECOSYSTEM", "SEMVER")]
    if not ranges and not listed:
        return True
    return any(_inside(_dicts(span.get("events")), version) for span in ranges)


def _inside(events: Iterator[Mapping[str, Any]], version: Version) -> bool:
    points: list[tuple[Version, int, str]] = []
    order = {"introduced": 0, "fixed": 1, "last_affected": 2}
    for event in events:
        for kind, text in event.items():
            if kind not in order:
                continue
            try:
                points.append((Version("0.dev0" if text == "0" else str(text)), order[kind], kind))
            except InvalidVersion:
                return True
    inside = False
    for point, _, kind in sorted(points):
        if kind == "introduced" and version >= point:
            inside = True
        elif (kind == "fixed" and version >= point) or (kind == "last_affected" and version > point):
            inside = False
    return inside


def _merged(found: Sequence[Known]) -> tuple[Known, ...]:
    """One entry a vulnerability and package: databases that copy each other name it by several ids."""
    groups: list[tuple[set[str], list[Known]]] = []
    for item in sorted(found, key=lambda known: (known.package, not known.id.startswith("CVE-"), known.id)):
        names = {item.id, *item.aliases}
        joined = [group for group in groups if group[1][0].package == item.package and group[0] & names]
        groups = [group for group in groups if group not in joined]
        members = [member for _, old in joined for member in old]
        groups.append((names.union(*(old for old, _ in joined)), [*members, item]))
    made = []
    for names, members in groups:
        best = members[0]
        made.append(
            Known(
                best.id,
                tuple(sorted(names - {best.id})),
                best.package,
                tuple(dict.fromkeys(pair for member in members for pair in member.severities)),
                tuple(dict.fromkeys(text for member in members for text in member.fixed)),
                next((member.summary for member in members if member.summary), ""),
            )
        )
    return tuple(sorted(made, key=lambda known: (known.package, known.id)))


def _server(base: str, packages: Sequence[Locked], now: datetime) -> Answer:
    parts = urlsplit(base)
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise UsageError("--osv is a file, a folder or an https address", hint="for example https://api.osv.dev")
    found: list[Known] = []
    for package in packages:
        token: str | None = ""
        for _ in range(_MAX_PAGES):
            asked = {"package": {"name": package.name, "ecosystem": "PyPI"}, "version": Version(package.version).public}
            answer = _post(f"{base.rstrip('/')}/v1/query", {**asked, **({"page_token": token} if token else {})}, host)
            # The server has evaluated the ranges; what it names concerns this version.
            for record in _dicts(answer.get("vulns")):
                mine = [item for item in _dicts(record.get("affected")) if _is(item, package.name)]
                if not record.get("withdrawn"):
                    found += [_known(record, item, package) for item in mine[:1] or [{}]]
            token = answer.get("next_page_token")
            if not token:
                break
        else:
            raise UndecidedError(f"{host} has no end of pages for {package.name}")
    return Answer(_merged(found), now, host)


def _is(affected: Mapping[str, Any], name: str) -> bool:
    package = affected.get("package")
    try:
        return isinstance(package, dict) and name_of(str(package.get("name"))) == name
    except AssayError:
        return False


class _Nowhere(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a question about what is in use is for one server only."""

    def redirect_request(self, *_: Any) -> None:
        """See `HTTPRedirectHandler`."""


def _post(url: str, body: Mapping[str, Any], host: str) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - https, or plain HTTP to this machine
        url, json.dumps(body).encode(), {"Content-Type": "application/json", "User-Agent": "assay"}
    )
    handlers: list[urllib.request.BaseHandler] = [_Nowhere()]
    if is_loopback(host):
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT) as answer:
            data = answer.read(MAX_RECORD + 1)
    except urllib.error.HTTPError as error:
        with error:
            raise UndecidedError(f"{host} answered {error.code} when asked for vulnerabilities") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UndecidedError(f"{host} cannot be asked for vulnerabilities: {clean(reason(error), 120)}") from None
    document = strict_json.loads(data, f"the answer of {host}", max_bytes=MAX_RECORD)
    if not isinstance(document, dict):
        raise DocumentError(f"the answer of {host} is not in OSV's form")
    return document


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    return (item for item in (value if isinstance(value, list) else ()) if isinstance(item, dict))


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return time.astimezone(UTC) if time.tzinfo is not None else None
