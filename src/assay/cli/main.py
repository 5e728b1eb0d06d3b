"""The entry point. A command's module is imported when that command is called: starting must cost nothing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

import assay
from assay.errors import AssayError, MissingExtraError, UsageError

COMMANDS = {
    "bom": "what is in a target: a bill of materials, signed with -o attest",
    "sign": "sign a model (OpenSSF Model Signing)",
    "attest": "turn a report about a target into signed evidence",
    "scan": "whether loading a target's models runs code that nobody agreed to",
    "run": "run a step behind walls and under watch, with signed evidence of what it did",
    "profile": "what a step usually does: show, accept, diff, enforce",
    "baseline": "what data are like: the file that later data are held against",
    "monitor": "watch data and predictions: check, schedule, alarms and what they set off",
    "gateway": "guard a prediction API: who may ask, how much, and what they learn",
    "packages": "Python packages: locked by hash, vetted, and kept as a signed wheelhouse",
    "verify": "check that a target is exactly what somebody trusted signed",
    "lineage": "where a target comes from and what became of it, as far as evidence proves it",
    "policy": "write policies: check, test, explain, init, generate",
    "report": "how far the evidence covers ATLAS, AI RMF, SLSA and other frameworks",
    "alerts": "who is told of violations: findings that are open, alerts that have not arrived",
    "protect": "judge what every Python of this environment loads and imports",
    "evidence": "look into and look after the evidence store",
    "keys": "make and show signing keys",
    "doctor": "what works here, and what is missing for what",
}

EXTRAS = {"baseline": "watch", "monitor": "watch", "gateway": "gateway"}
"""The extra that a command needs for nearly all that it does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit code: 0 accepted, 1 rejected, 2 wrong usage, 3 could not decide."""
    if arguments is None:
        code = main(sys.argv[1:])
        if sys.argv[1:2] == ["run"]:
            _leave(code)
        return code
    arguments = list(arguments)
    try:
        return _run(arguments)
    except AssayError as error:
        print(f"assay: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(next((argument for argument in arguments if not argument.startswith("-")), ""))
        if extra is None or not error.name or error.name.partition(".")[0] == "assay":
            raise
        missing = MissingExtraError(f"this command ({error.name} is not installed)", extra)
        print(f"assay: {missing}", file=sys.stderr)
        return missing.exit_code
    except KeyboardInterrupt:
        print("assay: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away; Python would complain once more while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except MemoryError:
        print("assay: not enough memory for this input", file=sys.stderr)
        return 2
    except OSError as error:
        name = f"{error.filename!r}: " if error.filename else ""
        print(f"assay: {name}{error.strerror or error}", file=sys.stderr)
        return 2
    except RecursionError:
        print("assay: the input is nested too deeply", file=sys.stderr)
        return 2


def _leave(code: int) -> None:
    """End here, with all that was asked to be done at the end done. Python would take apart what it has loaded, piece
    by piece, which costs as much as starting it did. Returns where that is still needed.
    """
    import atexit
    import threading

    if threading.active_count() > 1:  # somebody may be at work
        return
    with suppress(OSError, ValueError):  # Python itself tells of output that cannot be written
        atexit._run_exitfuncs()
        for stream in filter(None, (sys.stdout, sys.stderr)):  # None: it was closed when we were started
            stream.flush()
        os._exit(code)


def _run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="assay",
        description="Signed evidence for machine-learning pipelines.",
        epilog="assay COMMAND --help explains a command. Exit codes: 0 accepted, 1 rejected, 2 wrong usage or "
        "unreadable input, 3 could not decide.",
    )
    parser.add_argument("--version", action="version", version=f"assay {assay.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    if chosen is not None and chosen not in COMMANDS:
        raise UsageError(f"there is no command {chosen!r}", hint=_near(chosen, COMMANDS) or "assay --help lists them")
    named = [chosen] if chosen is not None and arguments[0] == chosen else COMMANDS
    for name in named:  # the others matter to nobody but who asks for the list
        summary = COMMANDS[name]
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == chosen:  # the others are listed by name only, their modules stay unimported
            import_module(f"assay.cli.{name}").configure(command)
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    if chosen is not None:
        _before_action(chosen, commands.choices[chosen], arguments[arguments.index(chosen) + 1 :])
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown and chosen is not None:
        # argparse itself would show the usage of `assay`, which names none of the command's flags.
        _refuse(chosen, commands.choices[chosen], [word for word in unknown if word.startswith("-")] or unknown)
    return int(parsed.run(parsed))


def _refuse(chosen: str, command: argparse.ArgumentParser, flags: Sequence[str]) -> NoReturn:
    near = _near(flags[0].partition("=")[0], command._option_string_actions)
    raise UsageError(
        f"'assay {chosen}' does not know {' '.join(flags)}",
        hint=near or f"assay {chosen} --help lists what it knows",
    )


def _before_action(chosen: str, command: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Refuse a flag that is not known before the command's action: argparse would take its value for the action."""
    actions = next((one.choices for one in command._actions if isinstance(one, argparse._SubParsersAction)), None)
    if actions is None:
        return
    for word in arguments:
        if word in actions or word == "--":
            return
        name = word.partition("=")[0]
        if name.startswith("--") and not any(known.startswith(name) for known in command._option_string_actions):
            _refuse(chosen, command, [name])


def _near(word: str, known: Iterable[str]) -> str | None:
    """A hint for a word that may be mistyped."""
    from difflib import get_close_matches

    found = get_close_matches(word, known, n=1, cutoff=0.7)
    return f"did you mean {found[0]}?" if found else None


def printable(text: str) -> str:
    """Text that cannot steer a terminal: a name in a document may hold escape sequences."""
    return "".join(char if char.isprintable() or char == "\n" else f"\\x{ord(char):02x}" for char in text)
