"""Where something that is written today runs tomorrow by itself: of this user, of others, of the machine, of a project.

Recognised by the path alone, wherever the home folder lies: a step may run with another one.
"""

from __future__ import annotations

import re

_OF_A_USER = (
    r"\.bashrc|\.bash_profile|\.bash_login|\.bash_logout|\.bash_aliases|\.profile|\.zshrc|\.zshenv|\.zprofile|\.zlogin|"
    r"\.kshrc|\.cshrc|\.tcshrc|\.login|\.xinitrc|\.xprofile|\.xsession|\.pam_environment|\.forward|\.vimrc|\.inputrc|"
    r"\.gitconfig|\.config/git/config|\.pythonrc(?:\.py)?|\.pdbrc|\.condarc|\.pip/pip\.conf|\.config/pip/pip\.conf|"
    r"\.ssh/(?:authorized_keys2?|rc|config|environment)|\.config/(?:fish|autostart|systemd|environment\.d)/.+|"
    r"\.local/share/systemd/.+|\.local/bin/.+|\.ipython/profile_[^/]+/startup/.+|"
    r"\.(?:jupyter|ipython)/.*config\.(?:py|json)|\.local/share/jupyter/kernels/.+"
)
_OF_THE_MACHINE = (
    r"cron[^/]*(?:/.*)?|anacrontab|profile(?:\.d/.*)?|bash\.bashrc|bashrc|zsh/.+|environment|rc\.local|init\.d/.+|"
    r"rc\d\.d/.+|systemd/.+|ld\.so\.(?:preload|conf(?:\.d/.*)?)|sudoers(?:\.d/.*)?|passwd|shadow|pam\.d/.+|"
    r"ssh/.+|xdg/autostart/.+|udev/rules\.d/.+|modules-load\.d/.+|apt/apt\.conf\.d/.+|update-motd\.d/.+"
)
_PLACES = re.compile(
    rf"/(?:root|home/[^/]+|Users/[^/]+)/(?:{_OF_A_USER})"
    rf"|/etc/(?:{_OF_THE_MACHINE})"
    r"|/(?:var/spool/(?:cron|at)|usr/lib/systemd|lib/systemd|run/systemd)/.+"
    r"|.*/(?:site|dist)-packages/(?:.*\.pth|.*\.egg-link)"
    r"|.*/(?:sitecustomize|usercustomize)(?:\.py|\.so|\.[^/]*\.so|/__init__\.py)"
    r"|.*/\.git/(?:hooks/.+|config)"
    r"|.*/\.(?:vscode/tasks\.json|envrc|pre-commit-config\.yaml)"
    r"|.*/\.github/workflows/.+|.*/\.gitlab-ci\.yml|.*/\.circleci/config\.yml",
    re.S,
)
_BELOW_HOME = re.compile(_OF_A_USER, re.S)


def persistent(path: str, home: str) -> bool:
    """Whether something at ``path`` (absolute) runs later by itself. ``home`` is the user's folder, or empty."""
    if _PLACES.fullmatch(path):
        return True
    inside = f"{home.rstrip('/')}/"
    return bool(home) and path.startswith(inside) and bool(_BELOW_HOME.fullmatch(path[len(inside) :]))
