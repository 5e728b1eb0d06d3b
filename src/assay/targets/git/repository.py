"""Running git on repositories that may be hostile: opening a clone, fetching one commit of a URL.

Only plumbing commands run (rev-parse, ls-tree, cat-file, config, ls-remote, fetch), with everything switched off
that lets a repository's own configuration start a program, reach the network or substitute an object. It must never
look at a worktree's files, and no secret may stand in an argument list or a message.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from assay.errors import AssayError, TargetError, UndecidedError
from assay.targets.names import shown

_CONFIG = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.warnAmbiguousRefs=true",
    # Memory: larger blobs are streamed, and packs are mapped by windows.
    "core.bigFileThreshold=8m",
    "core.packedGitWindowSize=8m",
    "core.packedGitLimit=64m",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.version=2",
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=60",
)

_KEPT = (
    "GIT_SSH",
    "GIT_SSL",
    "GIT_HTTP",
    "GIT_PROXY",
    "GIT_CONFIG_",
    "GIT_EXEC_PATH",
    "GIT_ASKPASS",
)
"""Prefixes of git's variables that say how servers are reached; others (GIT_DIR, …) name another repository."""

_HELPER = '!f() { echo "username=$ASSAY_GIT_USER"; echo "password=$ASSAY_GIT_PASSWORD"; }; f'
"""A credential helper: git asks it for one host only, and the secret appears in no argument list."""

_UNREACHABLE = re.compile(
    r"could not resolve|connection (?:refused|reset|timed out)|failed to connect|couldn't connect|timed out"
    r"|network is unreachable|no route to host|operation too slow|unable to look up|early eof|error: 5\d\d",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"authentication failed|could not read (?:username|password)|permission denied|error: 40[13]", re.I)


_ASKED = (
    "--path-format=absolute",
    "--show-object-format",
    "--is-inside-work-tree",
    "--show-prefix",
    "--absolute-git-dir",
    "--git-common-dir",
)
_FETCH = ("--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--force")


class GitFailedError(Exception):
    """A git command ended with an error; never leaves this floor."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository on the local disk, and how git is called for it."""

    directory: str
    """Absolute: the worktree, the bare repository or the ``.git`` folder."""
    label: str
    """What the user called it, for messages."""
    env: Mapping[str, str]
    """The environment of every git process."""
    algorithm: str
    """Object format: ``sha1`` or ``sha256``."""
    worktree: str | None = None
    """Top of the worktree, None for a bare repository."""
    common: str = ""
    """Absolute git folder that all worktrees share (``git rev-parse --git-common-dir``)."""

    def run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Standard output of a git command; `GitFailedError` with its message otherwise."""
        return run_git(arguments, self.directory, self.env, stdin)[0]

    def config(self, key: str) -> str | None:
        """One configuration value as git resolves it, or None."""
        try:
            return self.run("config", "-z", "--get", key).decode("utf-8", "replace").rstrip("\0")
        except GitFailedError:
            return None


def git_environment(protocols: Iterable[str] = (), userinfo: str | None = None, url: str = "") -> dict[str, str]:
    """Environment for git: no prompts, no replaced objects, only ``protocols``, a login for the host of ``url``.

    Without protocols a partial clone cannot fetch what it lacks: its configuration chooses the program for that.
    """
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k.startswith(_KEPT)}
    env.update(LC_ALL="C", LANGUAGE="", GIT_TERMINAL_PROMPT="0", GIT_NO_REPLACE_OBJECTS="1", GIT_OPTIONAL_LOCKS="0")
    env["GIT_ALLOW_PROTOCOL"] = ":".join(protocols)
    env["GIT_NO_LAZY_FETCH"] = "1"
    if userinfo:
        from urllib.parse import unquote

        user, _, password = userinfo.partition(":")
        env["ASSAY_GIT_USER"], env["ASSAY_GIT_PASSWORD"] = unquote(user), unquote(password)
        if re.search(r"[\r\n\0]", env["ASSAY_GIT_USER"] + env["ASSAY_GIT_PASSWORD"]):
            raise TargetError("the user information in the git URL contains a line break")
        host = "/".join(url.split("/")[:3])
        given = env.get("GIT_CONFIG_COUNT", "")
        count = int(given) if given.isdecimal() else 0
        for i, value in enumerate(("", _HELPER)):  # the empty value clears the user's helpers for this host
            env[f"GIT_CONFIG_KEY_{count + i}"] = f"credential.{host}.helper"
            env[f"GIT_CONFIG_VALUE_{count + i}"] = value
        env["GIT_CONFIG_COUNT"] = str(count + 2)
    return env


def run_git(arguments: Iterable[str], directory: str, env: Mapping[str, str], stdin: bytes = b"") -> tuple[bytes, str]:
    """Standard output and messages of a git command."""
    try:
        done = subprocess.run(command(arguments), cwd=directory, env=env, input=stdin, capture_output=True, check=False)
    except OSError as error:
        raise not_started(error, directory) from None
    messages = done.stderr.decode("utf-8", "replace")
    if done.returncode:
        raise GitFailedError(messages)
    return done.stdout, messages


def open_repository(path: str) -> Repository:
    """The repository whose top is ``path``: a worktree, a bare repository or a ``.git`` folder.

    A folder inside a worktree is refused: which of the two the user means is not ours to guess.
    """
    directory = os.path.realpath(path)
    if not os.path.isdir(directory):
        raise TargetError(f"there is no repository at {shown(path)}: it is not a folder")
    env = git_environment()
    try:
        answer, _ = run_git(("rev-parse", *_ASKED), directory, env)
    except GitFailedError as error:
        raise _not_opened(path, directory, str(error)) from None
    lines = os.fsdecode(answer).split("\n")
    if len(lines) != 6 or lines[0] not in ("sha1", "sha256"):
        raise TargetError(f"git does not say clearly which repository {shown(path)} is")
    algorithm, inside, prefix, git_dir, common, _ = lines
    if prefix:
        top = directory.removesuffix("/" + prefix.rstrip("/"))
        raise TargetError(
            f"{shown(path)} is a folder inside the repository {shown(top)}",
            hint=f"write git:{top} --path {prefix}, or dir:{path}",
        )
    if inside != "true" and os.path.realpath(git_dir) != directory:
        raise TargetError(f"{shown(path)} is a folder inside the git folder {shown(git_dir)}")
    worktree = directory if inside == "true" else None
    return Repository(directory, path, env, algorithm, worktree, common)


def resolve_commit(repository: Repository, revision: str | None) -> str:
    """Full id of the commit that ``revision`` means (default HEAD); a tag is peeled, ``origin``'s branches count."""
    wanted = revision or "HEAD"
    for candidate in (wanted, f"refs/remotes/origin/{wanted}"):
        arguments = ("rev-parse", "--verify", "--end-of-options", candidate + "^{commit}")
        try:
            answer, messages = run_git(arguments, repository.directory, repository.env)
        except GitFailedError:
            continue
        if "is ambiguous" in messages:
            raise TargetError(
                f"the revision {shown(wanted)} names more than one thing",
                hint=f"write refs/tags/{wanted} or refs/heads/{wanted}",
            )
        return answer.decode().strip()
    if revision is None:
        raise TargetError(f"the repository {shown(repository.label)} has no commit yet")
    raise TargetError(
        f"the repository {shown(repository.label)} has no branch, tag or commit {shown(wanted)}",
        hint="git fetch, or check the spelling; a shallow clone lacks older commits",
    )


def fetch(url: str, revision: str | None, userinfo: str | None, directory: str) -> tuple[Repository, str]:
    """Fetch one commit of ``url`` into an empty folder, without its history where the server allows that.

    Returns the bare repository and the commit's id. `UndecidedError`: the server cannot be reached.
    """
    scheme = url.partition("://")[0] if "://" in url else "ssh"
    env = git_environment(("file",) if scheme == "file" else ("https", "http", "ssh", "git"), userinfo, url)
    wanted = revision or "HEAD"
    asked = ["HEAD"] if wanted == "HEAD" else ["HEAD", wanted, f"refs/tags/{wanted}", f"refs/heads/{wanted}"]
    refs = _remote_refs(url, asked, directory, env)
    sizes = {len(oid) for oid in refs.values()} or {len(wanted)}
    algorithm = "sha256" if 64 in sizes else "sha1"
    run_git(("init", "-q", "--bare", f"--object-format={algorithm}", "."), directory, env)
    repository = Repository(directory, url, env, algorithm, None, directory)
    source = _source(url, wanted, refs, algorithm)
    by_name = source is not None and not _is_hex(source)
    one, all_ = f"+{source}:refs/assay/target", "+refs/*:refs/assay/*"
    attempts = [("--depth=1", one)] if source else []
    # Dumb HTTP knows no shallow fetch, and some servers give no commit that is not the tip of something.
    attempts.append(("--", one if by_name else all_))
    message = ""
    for option, refspec in attempts:
        try:
            repository.run("fetch", "-q", *_FETCH, option, url, refspec)
            return repository, resolve_commit(repository, "refs/assay/target" if by_name else wanted)
        except GitFailedError as error:
            message = str(error)
    raise _not_fetched(url, message)


def command(arguments: Iterable[str]) -> list[str]:
    """The argument list of a git command, with the safe configuration."""
    flags = [part for pair in _CONFIG for part in ("-c", pair)]
    return ["git", "--no-pager", "--no-replace-objects", *flags, *arguments]


def _remote_refs(url: str, asked: list[str], directory: str, env: Mapping[str, str]) -> dict[str, str]:
    """Those of the references ``asked`` that the server has, with their ids."""
    try:
        answer, _ = run_git(("ls-remote", "-q", url, *asked), directory, env)
    except GitFailedError as error:
        raise _not_fetched(url, str(error)) from None
    refs = {}
    for line in answer.decode("utf-8", "replace").splitlines():
        oid, tab, name = line.partition("\t")
        if tab and name in asked and _is_hex(oid):
            refs[name] = oid
    return refs


def _source(url: str, wanted: str, refs: Mapping[str, str], algorithm: str) -> str | None:
    """What to fetch: a reference's full name or a full commit id; None where only all history can tell."""
    if re.fullmatch(r"[0-9a-f]{64}" if algorithm == "sha256" else r"[0-9a-f]{40}", wanted):
        return wanted
    found = [name for name in (wanted, f"refs/tags/{wanted}", f"refs/heads/{wanted}") if name in refs]
    if len({refs[name] for name in found}) > 1:
        raise TargetError(
            f"the revision {shown(wanted)} of {shown(url)} names more than one thing",
            hint=f"write {' or '.join(found)}",
        )
    if found:
        return found[0]
    if re.fullmatch(r"[0-9a-f]{4,63}", wanted):
        return None
    if not refs:
        raise TargetError(f"the repository {shown(url)} has no commit yet")
    raise TargetError(f"the repository {shown(url)} has no branch, tag or commit {shown(wanted)}")


def _is_hex(oid: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", oid) is not None


def last_line(messages: str) -> str:
    """Git's own reason, for a message of ours: one line, nothing that a terminal would obey."""
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines or ["no reason given"]
    return shown(told[-1].removeprefix("fatal: ").removeprefix("error: "))[1:-1]


def not_started(error: OSError, directory: str) -> AssayError:
    """The error to raise where no git process could be started in ``directory``."""
    if isinstance(error, FileNotFoundError) and os.path.isdir(directory):
        return UndecidedError("git is not installed, and a git target needs it", hint="install git 2.31 or newer")
    return TargetError(f"git cannot be started in {shown(directory)}: {error.strerror}")


def _not_opened(path: str, directory: str, messages: str) -> AssayError:
    if "dubious ownership" in messages:
        return TargetError(
            f"the repository {shown(path)} belongs to another user, and git does not trust its configuration",
            hint=f"if you do: git config --global --add safe.directory {directory}",
        )
    if "not a git repository" in messages:
        return TargetError(f"{shown(path)} is not a git repository", hint="write dir:PATH for a folder as it is")
    return TargetError(f"git cannot open the repository {shown(path)}: {last_line(messages)}")


def _not_fetched(url: str, messages: str) -> AssayError:
    reason = last_line(messages)
    if _UNREACHABLE.search(messages):
        return UndecidedError(f"the repository {shown(url)} cannot be reached: {reason}")
    if _LOGIN.search(messages):
        return TargetError(
            f"the repository {shown(url)} does not exist or wants a login: {reason}",
            hint="log in with git's credential helper, or write git:https://USER:TOKEN@…",
        )
    return TargetError(f"the repository {shown(url)} cannot be fetched: {reason}")
