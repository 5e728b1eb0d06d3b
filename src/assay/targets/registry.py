"""Which kinds of target there are, and resolving a name to one of them.

Each kind is imported when it is first named, so that verifying a folder loads neither git's nor the hub's code. Adding
a kind is one file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable

from assay.errors import UsageError
from assay.targets.interface import Options, Reference, Target
from assay.targets.names import parse_with_userinfo, shown

Opener = Callable[[Reference, Options, str | None], Target]
"""Opens a target. The last argument is the user information of a URL, which a `Reference` never holds."""


def _directory(reference: Reference, options: Options, _userinfo: str | None) -> Target:
    from assay.targets.local import open_directory

    return open_directory(reference, options)


def _file(reference: Reference, options: Options, _userinfo: str | None) -> Target:
    from assay.targets.local import open_file

    return open_file(reference, options)


def _git(reference: Reference, options: Options, userinfo: str | None) -> Target:
    from assay.targets.git.target import open_git

    return open_git(reference, options, userinfo)


def _hub(reference: Reference, options: Options, _userinfo: str | None) -> Target:
    from assay.targets.hub import open_hub

    return open_hub(reference, options)


def _environment(reference: Reference, options: Options, _userinfo: str | None) -> Target:
    from assay.targets.environment import open_environment

    return open_environment(reference, options)


def _artifact(reference: Reference, options: Options, _userinfo: str | None) -> Target:
    from assay.targets.oci.target import open_oci

    return open_oci(reference, options)


SCHEMES: dict[str, Opener] = {
    "dir": _directory,
    "file": _file,
    "git": _git,
    "hf": _hub,
    "env": _environment,
    "oci": _artifact,
}
"""By the scheme that stands before the colon."""


def resolve(reference: Reference | str, options: Options = Options()) -> Target:  # noqa: B008  (frozen)
    """Open the target that ``reference`` names; use the result as a context manager.

    A string may be what `names.parse` takes; only a string can carry a login for a git URL. Raises `UsageError` for a
    name that is not clear, `TargetError` where the target cannot be read, `UndecidedError` where it cannot be reached.
    """
    userinfo = None
    if isinstance(reference, str):
        reference, userinfo = parse_with_userinfo(reference)
    opener = SCHEMES.get(reference.scheme)
    if opener is None:
        raise UsageError(f"unknown scheme {shown(reference.scheme)}", hint=f"known are {', '.join(SCHEMES)}")
    return opener(reference, options, userinfo)
