"""pip's requirements files: pinned lines are locked packages, others declared ones.

Options are skipped and never recorded (an index URL may hold a password); a nested file is read when it is
inside of the target, and nowhere else. Source: pip's "Requirements File Format".
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from assay.collect.bom.interface import Package
from assay.collect.bom.packages.entries import MAX_FILE, Warn, guarded, hash_pair, make, vcs_url
from assay.collect.bom.purl import clean_url
from assay.targets.interface import Target

_COMMENT = re.compile(r"(^|\s+)#.*$")
_HASH = re.compile(r"\s--hash(?:=|\s+)(\S+)")
_OPTION = re.compile(r"\s--?[A-Za-z][\w-]*(?:[=\s].*)?$")
_NESTED = re.compile(r"(?:-r\s*|--requirement[=\s]\s*)(.+)")
_EDITABLE = re.compile(r"(?:-e\s*|--editable[=\s]\s*)(.+)")
_VCS = re.compile(r"(git|hg|svn|bzr)\+(.+)")
_MAX_LINE = 100_000
_MAX_DEPTH = 20


def read(
    target: Target, name: str, warn: Warn, seen: set[str], known: frozenset[str], depth: int = 0
) -> Iterator[Package]:
    """Packages of a requirements file of the target and of the files that it includes, each file once.

    ``known`` holds the target's names, ``seen`` those that were read already.
    """
    if name in seen:
        return
    seen.add(name)
    with target.open(name) as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        warn(f"{name}: too large for a list of packages")
        return
    yield from guarded(parse, data, name, warn)
    for nested in included(data):
        inner = posixpath.normpath(posixpath.join(posixpath.dirname(name), nested))
        if inner not in known:
            warn(f"{name}: includes {nested[:200]!r}, which is not in the target")
        elif depth == _MAX_DEPTH:
            warn(f"{name}: includes are nested more than {_MAX_DEPTH} deep")
        else:
            yield from read(target, inner, warn, seen, known, depth + 1)


def included(data: bytes) -> list[str]:
    """Names of the requirements files that this one includes."""
    return [match[1].strip() for _, line in _lines(data) if (match := _NESTED.fullmatch(line))]


def _lines(data: bytes) -> Iterator[tuple[int, str]]:
    """Logical lines with their first number: continued ones joined, comments and blanks removed."""
    text = data.decode("utf-8-sig", "replace")
    pending, start = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        start = start or number
        if raw.endswith("\\") and len(pending) < _MAX_LINE and not raw.lstrip().startswith("#"):
            pending += raw[:-1] + " "
            continue
        line = _COMMENT.sub("", (pending + raw)[: 2 * _MAX_LINE]).strip()
        if line:
            yield start, line
        pending, start = "", 0
    if pending.strip():
        yield start, pending.strip()


def parse(data: bytes, source: str, warn: Warn) -> Iterator[Package]:
    """Packages of one file, without those that it includes."""
    for number, line in _lines(data):
        editable = _EDITABLE.fullmatch(line)
        if line.startswith("-") and not editable:
            continue
        where = f"{source} line {number}"
        hashes = [pair for text in _HASH.findall(line) for pair in hash_pair(text, where, warn)]
        text = _OPTION.sub("", _HASH.sub("", editable[1] if editable else line)).strip()
        yield from requirement(text, source, warn, hashes=hashes, where=where)


def requirement(
    text: str,
    source: str,
    warn: Warn,
    *,
    hashes: list[tuple[str, str]] | None = None,
    where: str | None = None,
    scope: str | None = None,
) -> Iterator[Package]:
    """The package that one requirement names (PEP 508, or pip's bare URL).

    ``scope`` None means ``locked`` when exactly one version is allowed, else ``declared``. A path names no
    package.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    where = where or source
    if len(text) > _MAX_LINE:
        warn(f"{where}: a requirement of {len(text):,} characters")
        return
    if _VCS.match(text) or re.match(r"https?://", text):
        yield from _bare_url(text, source, where, hashes, warn)
        return
    if text.startswith((".", "/", "~", "file:")) or re.match(r"[A-Za-z]:[\\/]|[\w./-]+\.(whl|zip|tar\.gz)$", text):
        return
    try:
        parsed = Requirement(text)
    except InvalidRequirement:
        warn(f"{where}: {text[:100]!r} is not a requirement")
        return
    pinned = [spec.version for spec in parsed.specifier if spec.operator in ("==", "===") and "*" not in spec.version]
    version = pinned[0] if len(pinned) == 1 else None
    url, vcs = _source(parsed.url or "")
    made = str(parsed) if not parsed.url else f"{parsed.name} @ {vcs or url or 'a URL'}"
    yield from make(
        parsed.name,
        version,
        scope or ("locked" if version else "declared"),
        source,
        warn,
        requirement=made,
        hashes=hashes,
        url=url,
        vcs=vcs,
    )


def _source(url: str) -> tuple[str | None, str | None]:
    """A requirement's URL as (file URL, repository with revision), credentials removed."""
    match = _VCS.match(url)
    if not match:
        return clean_url(url) or None, None
    scheme, _, rest = match[2].partition("#")[0].partition("://")
    host, _, path = rest.partition("/")  # an @ in front of the path belongs to the user: ssh://git@host/path
    path, _, revision = path.rpartition("@") if "@" in path else (path, "", "")
    base = f"{scheme}://{host}/{path}" if rest else scheme
    return None, vcs_url(match[1], base, revision)


def _bare_url(
    text: str, source: str, where: str, hashes: list[tuple[str, str]] | None, warn: Warn
) -> Iterator[Package]:
    """A URL without a name in front: the name is in its fragment, or is the file's or the repository's."""
    text = text.split(" ", 1)[0]
    url, vcs = _source(text)
    egg = re.search(r"#(?:.*&)?egg=([A-Za-z0-9._-]+)", text)
    try:
        base = posixpath.basename(urlsplit((vcs or url or "").partition("+")[2] if vcs else url or "").path)
    except ValueError:
        base = ""
    name, version = (egg[1] if egg else ""), None
    if not name and vcs:
        name = base.rpartition("@")[0] or base
        name = name.removesuffix(".git")
    elif not name and base.endswith(".whl") and base.count("-") >= 4:
        name, version = base.split("-")[:2]
    elif not name:
        stem = re.sub(r"\.(tar\.gz|tar\.bz2|tgz|zip)$", "", base)
        name, _, version = stem.rpartition("-")
    if not name or not (url or vcs):
        warn(f"{where}: the URL names no package")
        return
    scope = "locked" if hashes or re.search(r"@[0-9a-f]{40}$", vcs or "") else "declared"
    shown = f"{name} @ {vcs or url}"
    yield from make(name, version or None, scope, source, warn, requirement=shown, hashes=hashes, url=url, vcs=vcs)
