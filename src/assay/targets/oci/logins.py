"""The login for a registry, from the file where docker, podman, oras and skopeo keep it. Read only, never shown.

Credential helpers are programs that such a file names; none is started here.
"""

from __future__ import annotations

import os

import msgspec

from assay.errors import TargetError

_MAX_BYTES = 1 << 20
_DOCKER_HUB = "https://index.docker.io/v1/"  # under this key `docker login` keeps the login of docker.io


class _Login(msgspec.Struct):
    auth: str = ""


class _File(msgspec.Struct):
    auths: dict[str, _Login] = {}


def basic(host: str, repository: str) -> str | None:
    """``user:password`` in base64 for a registry, or None where no file has one.

    A login for ``host/part/of/the/repository`` counts before one for the host (containers-auth.json(5)). Raises
    `TargetError` for a file that cannot be understood, without its contents.
    """
    parts = repository.split("/")
    keys = ["/".join([host, *parts[:k]]) for k in range(len(parts), -1, -1)]
    keys += [f"https://{host}", f"https://{host}/"] + ([_DOCKER_HUB] if host == "docker.io" else [])
    for path in _files():
        try:
            with open(path, "rb") as file:
                data = file.read(_MAX_BYTES)
        except OSError:
            continue
        try:
            logins = msgspec.json.decode(data, type=_File).auths
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise TargetError(f"the file of logins {path!r} is not in docker's format") from None
        for key in keys:
            if key in logins and logins[key].auth:
                return logins[key].auth
    return None


def _files() -> list[str]:
    """Most special first."""
    named = os.environ.get("REGISTRY_AUTH_FILE")
    if named:
        return [named]
    docker = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    podman = [os.path.join(runtime, "containers", "auth.json")] if runtime else []
    return [*podman, os.path.join(docker, "config.json")]
