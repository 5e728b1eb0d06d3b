"""In which context evidence is made: continuous integration run, commit, branch, actor.

The names are those that valint's context has, so that its filters carry over. Everything here is a claim of whoever
signs. Host and user are recorded only when asked for, and no variable that is not in `ci` is ever read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

from assay.collect.provenance import ci, git_folder

MAX_LENGTH = 500
"""Characters of a value."""


@dataclass(frozen=True, slots=True)
class Context:
    """What is known; None is what is not."""

    context_type: str
    """``github``, ``gitlab``, ``jenkins``, ``circleci``, ``azure``, ``travis``, ``bitbucket``, ``tekton``,
    ``teamcity`` or ``local``.
    """
    git_url: str | None = None
    """Origin of the repository that the pipeline runs for (locally: that the target lies in), without credentials."""
    git_commit: str | None = None
    """Its commit."""
    git_branch: str | None = None
    """Its branch."""
    git_tag: str | None = None
    """A tag of the commit."""
    git_ref: str | None = None
    """The full reference, where the service gives one (``refs/pull/7/merge``)."""
    target_git_url: str | None = None
    """The repository that the target lies in, when that is not the pipeline's commit."""
    target_git_commit: str | None = None
    """Its commit."""
    target_git_branch: str | None = None
    """Its branch."""
    target_git_tag: str | None = None
    """A tag of that commit."""
    pipeline_name: str | None = None
    """The pipeline, project or build definition."""
    workflow: str | None = None
    """The workflow (GitHub)."""
    job_name: str | None = None
    """The job or stage."""
    run_id: str | None = None
    """Identifies the run at the service."""
    build_num: str | None = None
    """The run's number."""
    actor: str | None = None
    """Who or what started the run, as the service calls them."""
    event_name: str | None = None
    """What started it: ``push``, ``schedule``."""
    hostname: str | None = None
    """Only when asked for."""
    username: str | None = None
    """Only when asked for."""

    def document(self) -> dict[str, str]:
        """What is known, by name."""
        found = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in found if value}


def context(directory: str | None, environ: Mapping[str, str], *, identify: bool = False) -> Context:
    """The context of this process and of the target in ``directory`` (a path in it will do; None for a remote one).

    ``identify`` adds the names of host and user. Never raises: what cannot be read is not known.
    """
    provider, found = ci.run(environ)
    here = git_folder.checkout(directory) if directory is not None else None
    if here is not None:
        # The service speaks of the pipeline's repository, the folder of the target's. They are merged only when both
        # are at one commit; a model cloned by a pipeline must not pass for the pipeline's own code, nor vice versa.
        same = found.get("git_commit") in (None, here.commit)
        prefix = "git_" if same else "target_git_"
        for name in ("url", "commit", "branch", "tag"):
            value = getattr(here, name)
            if value and not found.get(prefix + name):
                found[prefix + name] = value
    for name in ("git_url", "target_git_url"):
        if name in found:
            found[name] = _public(found[name])
    if identify:
        found["hostname"] = os.uname().nodename
        found["username"] = _user()
    return Context(provider, **{name: clean for name, value in found.items() if (clean := _clean(value))})


def _clean(value: str) -> str:
    """Without what a terminal or a log would act on (controls, bidirectional marks), and not longer than is useful."""
    return "".join(char for char in value[: MAX_LENGTH * 4] if char.isprintable()).strip()[:MAX_LENGTH]


def _public(url: str) -> str:
    """A remote's URL without credentials; nothing for a path of this machine."""
    from assay.targets.names import without_userinfo

    public = without_userinfo(url.strip())
    return "" if public is None or public.lower().startswith("file:") else public


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
