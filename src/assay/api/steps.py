"""What a step of a pipeline is given, from what it was declared to need: files, variables, secrets, a private folder.

Everything that can be wrong with a declaration is said here, before anything runs.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from assay.api.signers import SignWith
from assay.config import Config, cache_home, config_home, default_key
from assay.errors import UsageError
from assay.files import read_file

if TYPE_CHECKING:
    from assay.guard.sandbox.interface import Wanted


class Step(Struct, frozen=True):
    """What is to be run, and what it was declared to need."""

    command: Sequence[str]
    name: str = ""
    """Of the step; the program's base name without one."""
    inputs: Sequence[str] = ()
    """Local files and folders."""
    outputs: Sequence[str] = ()
    """Folders; made when they are not there."""
    network: Sequence[str] | None = ()
    """``HOST:PORT``; empty for none, None for open."""
    isolation: str = "auto"
    variables: Sequence[str] = ()
    """``NAME``, ``NAME=value`` or a glob, beside those that always pass."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Name of a variable to where its value comes from: ``env:NAME`` or ``file:PATH``."""
    seconds: float | None = None
    """Wall time, after which all of it is killed."""
    cpu: int | None = None
    memory: int | None = None
    processes: int | None = None
    file_size: int | None = None
    allow_io_uring: bool = False
    allow_degraded: bool = False
    """Go on where something that was asked for cannot be enforced; the evidence lists it."""
    trace: str | None = None
    """Name of a tracer; the plan chooses without one."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Further external parameters for the provenance."""


def notebook(step: Step) -> tuple[Step, Mapping[str, str]]:
    """A notebook as the command that executes it, with the digest of its code; any other step as it is."""
    from assay.collect.step import notebooks

    if not notebooks.is_notebook(step.command):
        return step, {}
    if not step.outputs:
        raise UsageError("an executed notebook has to be written somewhere", hint="add --outputs DIR")
    (path,) = step.command
    command, code = notebooks.command(path, os.path.join(_plain(step.outputs[0]), os.path.basename(path)))
    name = step.name or os.path.basename(path).removesuffix(".ipynb")
    return replace(step, command=command, name=name, inputs=(*step.inputs, path)), code


def wanted_by(step: Step, temporary: str, environment: Mapping[str, str], hidden: Sequence[str]) -> Wanted:
    """What ``step`` was declared to need, in the sandbox's words; ``hidden`` are files that it may never read. Makes
    the output folders. Raises `UsageError` for what is no input, output, destination or program.
    """
    from assay.collect.trace import hooks
    from assay.guard.sandbox import software
    from assay.guard.sandbox.interface import Isolation, Wanted
    from assay.guard.sandbox.network.destinations import parse

    try:
        isolation = Isolation(step.isolation)
    except ValueError:
        raise UsageError(f"unknown isolation {step.isolation!r}", hint="auto, strict or off") from None
    outputs = []
    for path in map(_plain, step.outputs):
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            raise UsageError(f"the output {path!r} cannot be a folder: {error.strerror}") from None
        outputs.append(os.path.realpath(path))
    try:
        directory = os.path.realpath(os.getcwd())
    except FileNotFoundError:
        raise UsageError("the folder that this is called in is gone", hint="go to another one") from None
    folders = installation(step.command[0])
    return Wanted(
        isolation,
        None if step.network is None else tuple(parse(text) for text in step.network),
        tuple(_local(path) for path in step.inputs),
        tuple(outputs),
        execute=software.programs(step.command, directory, environment.get("PATH")),
        code=(hooks.FOLDER, *software.code(step.command, directory, environment), *software.linked(folders)),
        hidden=hidden,
        installation=folders,
        directory=directory,
        temporary=temporary,
        processes=step.processes,
        memory=step.memory,
        cpu=step.cpu,
        file_size=step.file_size,
        allow_io_uring=step.allow_io_uring,
    )


def own_secrets(choice: SignWith, config: Config) -> list[str]:
    """Files of ours that no step may see, wherever the user keeps them."""
    named = (choice.key, choice.passphrase_file, choice.identity_token)
    configured = config.path(config.signing.key) if config.signing.key else None
    return [os.path.realpath(path) for path in (*named, configured, default_key()) if path]


def keep_apart(store: str, wanted: Wanted, config: Config) -> None:
    """Neither the evidence nor what makes it may lie where the step writes: our own code is loaded when it is needed,
    also after the step. Raises `UsageError`.
    """
    if "/" in wanted.write:
        raise UsageError("the whole machine is no output", hint="name the folder that the step writes to")
    import assay
    from assay.guard.sandbox.paths import beneath

    own = [path for path in (*assay.__path__, sys.prefix, sys.base_prefix) if path not in ("/", "/usr", "/usr/local")]
    own += [config_home(), cache_home()]  # keys, trust, and digests that are believed
    if os.path.exists(configured := os.path.join(config.directory or wanted.directory, "assay.yaml")):
        own.append(configured)
    kept = os.path.realpath(store)
    for folder in wanted.write:
        if beneath(kept, folder) or beneath(folder, kept):
            raise UsageError(
                f"the evidence in {kept} and the output {folder} overlap, where the step could change it",
                hint="name another output, or another evidence directory with -d",
            )
        for path in map(os.path.realpath, own):
            if beneath(path, folder) or beneath(folder, path):
                raise UsageError(
                    f"{path} and the output {folder} overlap: the step could change what assay itself does",
                    hint="name a folder of its own as the output",
                )


def _local(text: str) -> str:
    """A declared input as an absolute path. What is not on this disk cannot be read by a step."""
    path = _plain(text)
    if not os.path.exists(path):
        raise UsageError(
            f"the input {text!r} is not on this disk", hint="fetch it first; a step reads only local inputs"
        )
    return os.path.realpath(path)


def _plain(text: str) -> str:
    """The path in ``dir:PATH`` and ``file:PATH``, as other commands write targets."""
    scheme, _, name = text.partition(":")
    return name if name and scheme in ("dir", "file") else text


def installation(command: str) -> tuple[str, ...]:
    """The folders of a program's own software: its virtual environment, and the prefix that it is installed under."""
    found = shutil.which(command)
    if found is None:
        raise UsageError(f"there is no program {command!r}", hint="give its path, or look at $PATH")
    folders: list[str] = []
    for path in (os.path.abspath(found), os.path.realpath(found)):
        prefix = os.path.dirname(os.path.dirname(path))
        marked = any(os.path.exists(os.path.join(prefix, name)) for name in ("pyvenv.cfg", "conda-meta", "lib"))
        if marked and prefix not in ("/", "/usr", "/usr/local", os.path.expanduser("~")) and prefix not in folders:
            folders.append(prefix)
    return tuple(folders)


def environment_of(step: Step, temporary: str) -> dict[str, str]:
    """The step's environment variables, secrets among them. Raises `UsageError` for one that is not there."""
    from assay.guard.sandbox.environment import select

    return select(os.environ, step.variables, temporary=temporary, extra=_secrets(step.secrets))


def _secrets(named: Mapping[str, str]) -> dict[str, str]:
    """Values of secrets. They reach the step's environment and nothing else."""
    made = {}
    for name, source in named.items():
        kind, _, value = source.partition(":")
        if kind == "env" and value in os.environ:
            made[name] = os.environ[value]
        elif kind == "file":
            made[name] = os.fsdecode(read_file(value, 1 << 20).rstrip(b"\n"))
        else:
            # Not a word of the source: whoever wrote the secret itself there would find it in a log.
            raise UsageError(
                f"the secret {name} has no source that is there",
                hint=f"--secret {name}=env:VARIABLE (one that is set here) or --secret {name}=file:PATH",
            )
        if "\0" in made[name]:
            raise UsageError(f"the secret {name} holds a byte 0, which no variable can")
    return made


@contextmanager
def private_folder() -> Iterator[str]:
    """The step's private temporary folder, gone when it is over."""
    folder = os.path.realpath(tempfile.mkdtemp(prefix="assay-run-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if os.path.isdir(folder):  # the step took away its own permissions somewhere in there
            _permit(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _permit(folder: str) -> None:
    with suppress(OSError):
        os.chmod(folder, 0o700)
        for base, names, _ in os.walk(folder):  # which opens a folder after it was given here
            for path in (os.path.join(base, name) for name in names):
                if not os.path.islink(path):
                    os.chmod(path, 0o700)
