"""`assay protect install|remove`: the ``.pth`` file that protects every Python of an environment."""

from __future__ import annotations

import argparse
import os
import sys

from assay.guard.protect import pth
from assay.guard.protect.interface import Mode


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.epilog = "For one program only: python -m assay.protect [options] SCRIPT.py"
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    install = actions.add_parser("install", help="protect every Python that starts in this environment")
    install.add_argument(
        "--mode",
        default="enforce",
        choices=[mode.value for mode in Mode],
        help="enforce (default) stops what is not vouched for, warn says it, record goes on",
    )
    install.add_argument("--config", metavar="FILE", help="configuration to use, instead of each user's own")
    install.add_argument(
        "--code", action="append", default=[], metavar="DIR", help="folder of your own code (repeatable)"
    )
    install.add_argument("--print", action="store_true", help="print the file's content instead of writing it")
    install.set_defaults(run=_install)
    remove = actions.add_parser("remove", help="take the protection out again")
    remove.set_defaults(run=_remove)
    for action in (install, remove):
        action.add_argument("--site", metavar="DIR", help="site-packages of another environment")


def _install(arguments: argparse.Namespace) -> int:
    config = os.path.abspath(arguments.config) if arguments.config else None
    mode, code = Mode(arguments.mode), [os.path.abspath(folder) for folder in arguments.code]
    if arguments.print:
        sys.stdout.write(pth.text(mode, config, code))
    else:
        path = pth.install(mode, config, arguments.site, code)
        print(f"wrote {path}\n  where no Python starts any more, delete this file", file=sys.stderr)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    print(f"removed {pth.remove(arguments.site)}", file=sys.stderr)
    return 0
