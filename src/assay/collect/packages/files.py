"""What an index says of one package: its files, with hash, age, and whether they were withdrawn.

Speaks the simple API: JSON (PEP 691, 700, 740), else HTML (PEP 503, 592). Every byte is a stranger's: bounded, strictly
read, and what is not told is unknown. Follows no redirect to another host and reads no file that a server names.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import re
import ssl
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit

import msgspec
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion

from assay.collect.packages.findings import clean
from assay.collect.packages.settings import Settings, Source
from assay.errors import DocumentError, UndecidedError
from assay.evidence import strict_json
from assay.targets.oci import web

MAX_PAGE = 64 << 20
"""Bytes of the largest page that is read; PyPI's largest is about 10 MB."""
MAX_FILES = 200_000
"""Files of one package that are looked at."""

JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_HASH = re.compile(r"sha256=([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True)
class File:
    """One file that a source serves."""

    filename: str
    version: str
    """As PEP 440 writes it."""
    wheel: bool
    """Not a source distribution."""
    sha256: str | None
    """Hex; None when the source does not tell."""
    uploaded: datetime | None
    """When it appeared on the index; None when the index does not tell."""
    yanked: str | None
    """Why it was withdrawn (may be empty); None when it was not."""
    attested: bool
    """Whether the index offers attestations (PEP 740). They are not verified here."""
    source: str
    """The source's name."""


class _Listed(msgspec.Struct, frozen=True, rename="kebab"):
    """One file of a PEP 691 page."""

    filename: str
    hashes: dict[str, str]
    yanked: bool | str = False
    upload_time: str | None = None
    provenance: str | None = None


class _Meta(msgspec.Struct, frozen=True, rename="kebab"):
    """A page's header."""

    api_version: str


class _Page(msgspec.Struct, frozen=True):
    """A PEP 691 page."""

    meta: _Meta
    files: list[_Listed]


def name_of(text: str) -> str:
    """A package's name as PEP 503 spells it. Raises `DocumentError` for what is no name."""
    # The Kelvin sign and the long s fold to ASCII letters: what only looks like a name is none.
    if not text.isascii() or len(text) > 200 or not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", text):
        raise DocumentError(f"{text[:80]!a} is not the name of a package")
    return str(canonicalize_name(text))


def served(name: str, source: Source, settings: Settings) -> list[File] | None:
    """The files of package ``name`` at ``source``; None when it knows no such package.

    Raises `UndecidedError` (out of reach, login refused, sent elsewhere) and `DocumentError` (not a page).
    """
    parts = urlsplit(source.url)
    if parts.scheme in ("", "file"):
        found = _local(name, source, unquote(parts.path))
        return found or None
    base = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), parts.query, ""))
    url = base if source.flat else f"{base}/{name}/"
    page = _get(url, source, settings)
    if page is None:
        return None
    found = list(_parsed(*page, name, source))
    return found or (None if source.flat else found)


def _get(url: str, source: Source, settings: Settings) -> tuple[bytes, str] | None:
    """A page and its media type."""
    headers = {"Accept": _ACCEPT, "User-Agent": "assay", **_login(source.url)}
    context = None
    if settings.certificates or settings.client_certificate:
        context = ssl.create_default_context(cafile=settings.certificates)
        if settings.client_certificate:
            context.load_cert_chain(settings.client_certificate)
    try:
        with web.request(url, headers, context) as answer:
            if urlsplit(answer.geturl())[:2] != urlsplit(url)[:2]:
                raise UndecidedError(f"the index {source.name} sends to another host, which is not followed")
            data = answer.read(MAX_PAGE + 1)
            kind = answer.headers.get_content_type()
    except urllib.error.HTTPError as error:
        with error:
            if error.code in (404, 410):
                return None
            if error.code in (401, 403):
                raise UndecidedError(
                    f"the index {source.name} refuses the login", hint="see: pip config list"
                ) from None
            raise UndecidedError(f"the index {source.name} answered {error.code}: {clean(error.reason, 80)}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UndecidedError(f"the index {source.name} cannot be read: {web.reason(error)}") from None
    if len(data) > MAX_PAGE:
        raise UndecidedError(f"the index {source.name} answers with more than {MAX_PAGE >> 20} MiB")
    return data, kind


def _login(url: str) -> dict[str, str]:
    """Basic authentication from the address, else from ``.netrc``, as pip does."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    if user:
        name, _, password = user.partition(":")
        name, password = unquote(name), unquote(password)
    else:
        import netrc

        try:
            found = netrc.netrc().authenticators(parts.hostname or host)
        except (OSError, netrc.NetrcParseError):
            found = None
        if found is None:
            return {}
        name, password = found[0], found[2] or ""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def _parsed(data: bytes, kind: str, name: str, source: Source) -> Iterator[File]:
    what = f"the page of {name} at {source.name}"
    if kind not in (JSON, "application/json"):
        yield from _links(data, name, source, "")
        return
    try:
        page = msgspec.convert(strict_json.loads(data, what, max_bytes=MAX_PAGE), _Page)
    except msgspec.ValidationError as error:
        raise DocumentError(f"{what} is not what PEP 691 describes: {clean(error)}") from None
    if page.meta.api_version.partition(".")[0] != "1":
        raise UndecidedError(f"{what} has an API version that is not known here")
    for item in page.files[:MAX_FILES]:
        digest = item.hashes.get("sha256", "").lower()
        why = None if item.yanked is False else clean(item.yanked) if isinstance(item.yanked, str) else ""
        yield from _file(
            item.filename,
            name,
            source,
            digest if re.fullmatch("[0-9a-f]{64}", digest) else None,
            _time(item.upload_time),
            why,
            item.provenance is not None,
        )


def _time(text: str | None) -> datetime | None:
    """A time with a zone; anything else is unknown."""
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return time.astimezone(UTC) if time.tzinfo is not None else None


class _Anchors(HTMLParser):
    """The links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        given = dict(attrs)
        if tag == "a" and given.get("href") and len(self.found) < MAX_FILES:
            self.found.append((given["href"] or "", given.get("data-yanked", "") if "data-yanked" in given else None))


def _links(data: bytes, name: str, source: Source, folder: str) -> Iterator[File]:
    """The files of an HTML page. ``folder`` is where a page on this machine lies: hashes it leaves out are computed."""
    anchors = _Anchors()
    anchors.feed(data.decode("utf-8", "replace"))
    for href, yanked in anchors.found:
        link, fragment = urldefrag(href)
        match = _HASH.fullmatch(fragment)
        digest = match[1].lower() if match else None
        filename = unquote(urlsplit(link).path.rpartition("/")[2])
        why = clean(yanked) if yanked is not None else None
        if digest is None and folder:
            place = urlsplit(urljoin("file://" + folder + "/", link))
            path = unquote(place.path)
            if place.scheme == "file" and os.path.isfile(path) and list(_file(filename, name, source, None)):
                digest = sha256_of(path)
        yield from _file(filename, name, source, digest, None, why)


def _local(name: str, source: Source, path: str) -> list[File]:
    """A folder of files, or an index on this machine."""
    folder = path if source.flat else os.path.join(path, name)
    try:
        with open(path if os.path.isfile(path) else os.path.join(folder, "index.html"), "rb") as file:
            data = file.read(MAX_PAGE)
        return list(_links(data, name, source, os.path.abspath(folder)))
    except OSError:
        pass
    try:
        entries = sorted(os.listdir(folder))
    except OSError:
        return []
    named = [entry for entry in entries if any(_file(entry, name, source, None))]
    return [file for entry in named for file in _file(entry, name, source, sha256_of(os.path.join(folder, entry)))]


def sha256_of(path: str) -> str:
    """The hex SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file(
    filename: str,
    name: str,
    source: Source,
    sha256: str | None,
    uploaded: datetime | None = None,
    yanked: str | None = None,
    attested: bool = False,
) -> Iterator[File]:
    """The file, or nothing when it is not one of this package (pip does not look at it either)."""
    if not filename.isascii() or "/" in filename or not filename.isprintable():
        return
    try:
        if filename.endswith(".whl"):
            found, version, _, _ = parse_wheel_filename(filename)
        else:
            found, version = parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return
    if found == name:
        yield File(filename, str(version), filename.endswith(".whl"), sha256, uploaded, yanked, attested, source.name)
