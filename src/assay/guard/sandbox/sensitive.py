"""Where secrets lie, and where something that is written today runs tomorrow: lists, and what of them is there.

A name that is missing here is a secret that any step can read in ``auto`` mode. Strict mode does not need the list.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cache

_IN_HOMES = (
    ".ssh",
    ".gnupg",
    ".password-store",
    ".netrc",
    ".authinfo",
    ".pgpass",
    ".my.cnf",
    ".pypirc",
    ".npmrc",
    ".yarnrc.yml",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".gem/credentials",
    ".m2/settings.xml",
    ".git-credentials",
    ".config/git/credentials",
    ".config/gh",
    ".config/glab-cli",
    ".config/hub",
    ".aws",
    ".azure",
    ".oci",
    ".s3cfg",
    ".boto",
    ".config/gcloud",
    ".config/rclone",
    ".config/doctl",
    ".kube",
    ".docker",
    ".config/containers/auth.json",
    ".terraform.d",
    ".vault-token",
    ".databrickscfg",
    ".kaggle",
    ".config/kaggle",
    ".config/wandb",
    ".cache/huggingface/token",
    ".cache/huggingface/stored_tokens",
    ".huggingface",
    ".local/share/keyrings",
    ".local/share/kwalletd",
    ".config/1Password",
    ".config/Bitwarden",
    ".config/keepassxc",
    ".mozilla",
    ".thunderbird",
    "snap/firefox",
    ".config/google-chrome",
    ".config/chromium",
    ".config/BraveSoftware",
    ".config/microsoft-edge",
    ".config/Signal",
    ".config/Slack",
    ".electrum",
    ".bitcoin",
    ".ethereum",
    ".bash_history",
    ".zsh_history",
    ".python_history",
    ".psql_history",
    ".mysql_history",
    ".local/share/fish/fish_history",
    ".local/share/assay",
    ".config/assay",
    ".cache/assay",
)

_ANYWHERE = (
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/security/opasswd",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/krb5.keytab",
    "/etc/kubernetes",
    "/etc/rancher",
    "/etc/docker",
    "/var/lib/kubelet",
    "/var/run/secrets",
    "/run/secrets",
    "/run/credentials",
)

_RUN_LATER_AT_HOME = (
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".bash_aliases",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".config/fish",
    ".config/autostart",
    ".config/systemd",
    ".config/environment.d",
    ".local/bin",
    "bin",
    ".ssh",
    ".gitconfig",
    ".config/git",
    ".vimrc",
    ".inputrc",
    ".pythonrc.py",
    ".ipython/profile_default/startup",
    ".jupyter",
)
_RUN_LATER = (
    "/etc/cron*",
    "/etc/profile*",
    "/etc/bash.bashrc",
    "/etc/ld.so.preload",
    "/etc/ld.so.conf*",
    "/etc/systemd/*",
    "/etc/init.d/*",
    "/etc/rc*",
    "/lib/systemd/*",
    "/usr/lib/systemd/*",
    "/var/spool/cron*",
    "*-packages/*.pth",
    "*/sitecustomize.py",
    "*/usercustomize.py",
    "*/.git/hooks/*",
    "*/.git/config",
)


def homes() -> tuple[str, ...]:
    """Home folders whose files this process could read: its user's, and for root everybody's."""
    return _homes(os.path.expanduser("~"), os.geteuid())


@cache
def _homes(own: str, user: int) -> tuple[str, ...]:
    found = [own]
    try:
        entries = pwd.getpwall() if user == 0 else [pwd.getpwuid(user)]
    except KeyError:
        entries = []
    found += [entry.pw_dir for entry in entries if entry.pw_uid == user or entry.pw_uid >= 1000]
    return tuple(dict.fromkeys(path for path in map(os.path.realpath, found) if path != "/" and os.path.isdir(path)))


def secrets(own: Sequence[str] = ()) -> list[str]:
    """Places of secrets, links resolved, and ``own`` ones: the signing key."""
    named = [os.path.join(home, name) for home in homes() for name in _IN_HOMES]
    # The set of configuration may have been moved by variables that our own keys follow too.
    for variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        if os.environ.get(variable):
            named.append(os.path.join(os.environ[variable], "assay"))
    folders: dict[str, str] = {}
    return sorted({resolved(path, folders) for path in (*named, *_ANYWHERE, *own)})


def resolved(path: str, folders: dict[str, str]) -> str:
    """`os.path.realpath`, with the folders' results kept: most of these paths share theirs."""
    parent, name = os.path.split(path)
    if parent not in folders:
        folders[parent] = os.path.realpath(parent)
    path = os.path.join(folders[parent], name)
    return os.path.realpath(path) if os.path.islink(path) else path


def runs_later(path: str) -> bool:
    """Whether something that is written there is run later by itself."""
    return any(fnmatchcase(path, pattern) for pattern in _RUN_LATER) or any(
        path == known or path.startswith(f"{known}/")
        for known in (os.path.join(home, name) for home in homes() for name in _RUN_LATER_AT_HOME)
    )


def run_later_beneath(folder: str) -> Iterator[str]:
    """What is there of such places beneath a folder that is to be written to. Only the well-known ones are looked for:
    a walk of a large folder costs more than it tells.
    """
    for home in homes():
        for name in _RUN_LATER_AT_HOME:
            path = os.path.join(home, name)
            if path.startswith(folder.rstrip("/") + "/") and os.path.lexists(path):
                yield path
    if os.path.isdir(hooks := os.path.join(folder, ".git", "hooks")):
        yield hooks
