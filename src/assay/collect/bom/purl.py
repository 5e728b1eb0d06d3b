"""Package URLs (package-url/purl-spec): names for packages and targets that other tools understand. Pure
functions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlsplit, urlunsplit

_SCP = re.compile(r"(?:[^@/\s]+@)?([A-Za-z0-9.-]+):(?!//)([^\s]+)")


def purl(
    kind: str,
    name: str,
    version: str | None = None,
    *,
    namespace: str = "",
    qualifiers: Mapping[str, str] = {},
) -> str:
    """A canonical package URL. ``namespace`` may have several segments, divided by ``/``."""
    parts = [_quote(part) for part in namespace.split("/") if part]
    made = f"pkg:{kind}/" + "/".join([*parts, _quote(name)])
    if version:
        made += "@" + _quote(version)
    if qualifiers:
        made += "?" + "&".join(f"{key}={quote(qualifiers[key], safe=':/-._~')}" for key in sorted(qualifiers))
    return made


def _quote(text: str) -> str:
    return quote(text, safe="-._~:")


def normalise(name: str) -> str:
    """A Python distribution's name as PEP 503 spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def clean_url(url: str) -> str:
    """A URL that may be published: no credentials, no query (it may hold a token), no fragment, no odd
    characters.

    ``git@host:path`` becomes ``ssh://host/path``. Returns an empty string for what is not a URL.
    """
    scp = _SCP.fullmatch(url)
    if scp and "://" not in url:
        url = f"ssh://{scp[1]}/{scp[2].lstrip('/')}"
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return ""
    if not parts.scheme or not re.fullmatch(r"[A-Za-z0-9.-]*(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?", host):
        return ""
    if not host and not parts.path:
        return ""
    return urlunsplit((parts.scheme, host, quote(parts.path, safe="/%:@!$&'()*+,;=-._~"), "", ""))


def target_purl(scheme: str, name: str, short: str, revision: str | None, origin: str | None) -> str:
    """The package URL of a target: Hugging Face and GitHub where it comes from there, ``pkg:generic`` else.

    ``name`` and ``scheme`` are the reference's, ``short`` is what a statement calls the target.
    """
    url = clean_url(origin or "")
    if scheme == "hf" and not name.startswith(("datasets/", "spaces/")):
        default = not url or urlsplit(url).netloc == "huggingface.co"
        extra = {} if default else {"repository_url": f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"}
        namespace, _, model = name.rpartition("/")
        return purl("huggingface", model, (revision or "").lower(), namespace=namespace, qualifiers=extra)
    if url:
        host, path = urlsplit(url).netloc, urlsplit(url).path.strip("/").removesuffix(".git")
        parts = path.split("/")
        if host == "huggingface.co" and len(parts) <= 2 and path and parts[0] not in ("datasets", "spaces"):
            namespace, _, model = path.rpartition("/")
            return purl("huggingface", model, (revision or "").lower(), namespace=namespace)
        if host == "github.com" and len(parts) == 2:
            return purl("github", parts[1].lower(), revision, namespace=parts[0].lower())
        vcs = f"git+{url}" + (f"@{revision}" if revision else "")
        return purl(
            "generic",
            short,
            revision,
            qualifiers={"vcs_url" if revision else "download_url": vcs if revision else url},
        )
    return purl("generic", short, revision)
