"""Reading what the user wrote: ``scheme:name@revision``, a bare path or a bare URL becomes a `Reference`.

It looks whether paths exist and does nothing else: no file is opened, no program started, no host asked. The
user name and password of a URL never get into a `Reference` or into a message.
"""

from __future__ import annotations

import os
import re

from assay.errors import UsageError
from assay.targets.interface import Reference

SCHEMES = ("dir", "file", "git", "hf", "env", "oci")
"""What may stand before the first colon."""

GIT_PROTOCOLS = ("https", "http", "ssh", "git", "file")
"""URL schemes that are handed to git; helpers such as ``ext::`` run programs and are refused."""

_GIT_HOSTS = frozenset(
    ("github.com", "gitlab.com", "huggingface.co", "hf.co", "bitbucket.org", "codeberg.org", "git.sr.ht")
)
_GIT_LABELS = frozenset(("git", "gitlab", "gitea", "forgejo", "github"))
_PAGES = frozenset(("tree", "blob", "resolve", "raw", "commit", "releases", "-"))

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>.*)")
_HELPER = re.compile(r"[A-Za-z0-9+.-]+::")
_SCP = re.compile(r"(?P<host>(?:[A-Za-z0-9_.+-]+@)?(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)):(?P<path>.+)")
_WINDOWS = re.compile(r"(?:[A-Za-z]:[\\/]|\\\\)")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9_.-]*)(?::[0-9]{1,5})?")
_HUB_PART = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_BAD_IN_REVISION = re.compile(r"[\s:\\?*\[]|\.\.")


def parse(text: str) -> Reference:
    """The reference that ``text`` means.

    A known scheme before the first colon decides; else an existing file or folder wins, then URLs of git hosts.
    Raises `UsageError` for everything that is not clearly one thing.
    """
    return parse_with_userinfo(text)[0]


def parse_with_userinfo(text: str) -> tuple[Reference, str | None]:
    """`parse`, and the ``user:password`` that stood in a git URL, for the program that has to log in."""
    if not text:
        raise UsageError("the target is empty", hint="name a folder, a file, git:…, hf:org/name or env:")
    if _CONTROL.search(text):
        raise UsageError(f"the target {shown(text)} contains control characters or is not UTF-8")
    scheme, colon, name = text.partition(":")
    if colon and scheme in SCHEMES:
        return _with_scheme(scheme, name)
    if os.path.isdir(text):
        return Reference("dir", text), None
    if os.path.isfile(text):
        return Reference("file", text), None
    if os.path.exists(text):
        raise UsageError(f"{shown(text)} is neither a regular file nor a folder")
    return _bare(text)


def shown(text: str, limit: int = 200) -> str:
    """``text`` for a message: no user information of a URL, escaped for a terminal, cut after ``limit``."""
    text = without_secrets(text)
    return ascii(text if len(text) <= limit else text[:limit] + "…")


def without_secrets(text: str) -> str:
    """``text`` without the user information of any URL in it."""
    return re.sub(r"(://)[^/?#]*@", r"\1", text)


def is_url(name: str) -> bool:
    """Whether git reaches ``name`` (of a git reference) by a protocol: a URL or ``host:path``, not a local path."""
    return bool(_URL.match(name)) or (not os.path.exists(name) and bool(_scp(name)))


def without_userinfo(url: str) -> str | None:
    """A remote's URL as it may be shown and signed, or None where it is a path of this machine or malformed."""
    try:
        reference = parse_with_userinfo("git:" + url)[0]
    except UsageError:
        return None
    return reference.name if reference.revision is None and is_url(reference.name) else None


def base_name(location: str) -> str:
    """Last component of a path or URL, without ``.git``: what a repository is called."""
    last = re.split(r"[/:]", location.rstrip("/"))[-1]
    return last.removesuffix(".git") or "repository"


def check_revision(revision: str) -> str:
    """``revision``, or `UsageError` where it could be an option, a range or another thing than a commit's name."""
    if not revision:
        raise UsageError("nothing stands after the '@'", hint="write @branch, @tag or @commit, or leave out the '@'")
    if revision.startswith("-"):
        raise UsageError(f"the revision {shown(revision)} starts with '-' and could be taken for an option")
    if len(revision) > 1000 or _CONTROL.search(revision) or _BAD_IN_REVISION.search(revision):
        raise UsageError(f"{shown(revision)} is not a branch, tag or commit")
    return revision


def _with_scheme(scheme: str, name: str) -> tuple[Reference, str | None]:
    if scheme == "git":
        return _git(name)
    if scheme == "hf":
        return _hub(name), None
    if scheme == "oci":
        from assay.targets.oci.reference import parse_name

        return parse_name(name), None
    if not name and scheme != "env":
        raise UsageError(f"nothing stands after '{scheme}:'", hint=f"write {scheme}:PATH")
    return Reference(scheme, name), None


def _bare(text: str) -> tuple[Reference, str | None]:
    if _WINDOWS.match(text):
        raise UsageError(f"{shown(text)} is a Windows path", hint="give the path as this system knows it")
    if url := _URL.match(text):
        return _bare_url(text, url)
    if "@" in text.partition(":")[0] and _scp(text):
        return _git(text)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text):
        scheme = text.partition(":")[0]
        known = ", ".join(f"{known}:" for known in SCHEMES)
        raise UsageError(
            f"unknown scheme {shown(scheme)} in {shown(text)}", hint=f"known are {known} or an existing path"
        )
    hint = "write hf:org/name for a model of the hub, git:URL for a repository"
    raise UsageError(f"there is no file or folder {shown(text)}", hint=hint)


def _bare_url(text: str, url: re.Match[str]) -> tuple[Reference, str | None]:
    scheme = url["scheme"].lower()
    host = re.sub(r":\d+$", "", url["authority"].rpartition("@")[2]).lower()
    path = url["path"]
    named = re.search(r"\.git/?(?:@|$)", path) is not None
    known = host in _GIT_HOSTS or host.split(".")[0] in _GIT_LABELS
    if scheme in ("ssh", "git") or (scheme in ("https", "http") and (known or named)):
        return _git(text)
    if scheme in ("https", "http"):
        raise UsageError(
            f"{shown(text)} does not look like a git repository",
            hint="write git:URL if it is one; a single file has to be downloaded first",
        )
    raise UsageError(
        f"{shown(text)} cannot be a target", hint="write dir:PATH or file:PATH, or git:URL for a repository"
    )


def _git(name: str) -> tuple[Reference, str | None]:
    if not name:
        raise UsageError("nothing stands after 'git:'", hint="write git:PATH or git:URL, with @revision if you like")
    if url := _URL.match(name):
        return _git_url(name, url)
    if os.path.exists(name):
        return Reference("git", name), None
    local = _local_with_revision(name)
    if local is not None:
        return local, None
    if _HELPER.match(name):
        raise UsageError(
            f"the git transport in {shown(name)} is refused", hint=f"allowed are {', '.join(GIT_PROTOCOLS)}"
        )
    if _WINDOWS.match(name):
        raise UsageError(f"{shown(name)} is a Windows path", hint="give the path as this system knows it")
    if scp := _scp(name):
        path, revision = _split_path(scp["path"])
        return Reference("git", f"{scp['host']}:{path}", revision), None
    path, at, tail = name.rpartition("@")
    return (Reference("git", path, check_revision(tail)) if at and path else Reference("git", name)), None


def _git_url(name: str, url: re.Match[str]) -> tuple[Reference, str | None]:
    scheme = url["scheme"].lower()
    if scheme not in GIT_PROTOCOLS:
        raise UsageError(
            f"the git transport in {shown(name)} is refused", hint=f"allowed are {', '.join(GIT_PROTOCOLS)}"
        )
    userinfo, _, host = url["authority"].rpartition("@")
    path, revision = _split_path(url["path"])
    if "?" in path or "#" in path:
        raise UsageError(
            f"the git URL {shown(name.partition('?')[0].partition('#')[0])} has a query or a fragment",
            hint="give the URL that git clone takes",
        )
    if scheme != "file" and not _HOST.fullmatch(host):
        raise UsageError(f"the git URL {shown(name)} has no valid host")
    parts = path.strip("/").split("/")
    if not path.strip("/"):
        raise UsageError(f"the git URL {shown(name)} names no repository")
    if host.lower() in _GIT_HOSTS and len(parts) > 2 and _PAGES.intersection(parts[1:]):
        raise UsageError(
            f"{shown(name)} is a page about a repository, not the repository",
            hint="write git:https://host/org/name@revision, and --path for a part of it",
        )
    # ssh needs its user name ("git@"), which is no secret; for http the user name alone can be the token.
    user = userinfo.partition(":")[0] if scheme == "ssh" else ""
    if user and not re.fullmatch(r"[A-Za-z0-9_.+][A-Za-z0-9_.+-]*", user):
        raise UsageError(f"the git URL {shown(name)} has no valid user name")
    clean = f"{scheme}://{user}{'@' if user else ''}{host}{path}"
    return Reference("git", clean, revision), (userinfo or None) if scheme in ("https", "http") else None


def _split_path(path: str) -> tuple[str, str | None]:
    """Path and revision of a URL: at ``.git@``, else at the first '@' that starts no component (``/@user/``)."""
    at = re.search(r"(?<=\.git)@|(?<=\.git/)@", path) or re.search(r"(?<![/@])@", path)
    if at is None:
        return path, None
    return path[: at.start()], check_revision(path[at.end() :])


def _local_with_revision(name: str) -> Reference | None:
    """The longest part before an '@' that exists: folders and revisions (``HEAD@{1}``) may both have one."""
    for i in range(len(name) - 1, 0, -1):
        if name[i] == "@" and os.path.exists(name[:i]):
            return Reference("git", name[:i], check_revision(name[i + 1 :]))
    return None


def _scp(name: str) -> re.Match[str] | None:
    """``[user@]host:path``, told from a path as git does: no slash before the first colon."""
    found = _SCP.fullmatch(name)
    host = found["host"].rpartition("@")[2] if found else ""
    return found if found and not found["host"].startswith("-") and not host.startswith("-") else None


def _hub(name: str) -> Reference:
    path, at, revision = name.partition("@")
    parts = path.split("/")
    repository = parts[1:] if parts[0] == "datasets" and len(parts) > 1 else parts
    if not 1 <= len(repository) <= 2 or not all(_HUB_PART.fullmatch(part) for part in repository):
        raise UsageError(
            f"{shown(name)} is not the name of a repository on the hub",
            hint="write hf:org/name@revision, or hf:datasets/org/name@revision for a data set",
        )
    return Reference("hf", path, check_revision(revision) if at else None)
