"""`assay.protect()` and ``python -m assay.protect script.py``: nothing is loaded or imported without evidence.

The front door of `assay.guard.protect`. The module itself can be called, so that ``assay.protect(mode="warn")`` works.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from assay.errors import AssayError, UndecidedError, UsageError

if TYPE_CHECKING:
    from assay.evidence.trust.interface import Anchor
    from assay.evidence.verification import Candidate
    from assay.guard.protect.interface import Event
    from assay.guard.protect.memory import Memory
    from assay.guard.protect.start import Protection
    from assay.load import Loading
    from assay.targets.interface import Manifest, Target


def protect(
    mode: str = "enforce",
    *,
    imports: bool = True,
    code: Iterable[str | os.PathLike[str]] = (),
    targets: Iterable[str] = (),
    environment: str = "env:",
    how: Loading | None = None,
    files: Iterable[str] = (),
    record: str | None = None,
) -> Protection:
    """Protect this process from here on, for good.

    ``mode`` is ``enforce`` (what is not vouched for is stopped), ``warn`` or ``record`` (to ``record``, a file of JSON
    lines, and in the result). With ``imports`` only modules and shared objects are imported that the newest signed
    bill of materials of ``environment`` lists with their digest; ``code`` are folders of your own code, and ``files``
    single files, that are taken as given. ``targets`` are folders whose evidence is about the whole.

    Raises `UsageError` for a second call, and in the mode ``enforce`` `UndecidedError` where the environment has no
    evidence: what could not be judged is not protected.
    """
    from assay.guard.protect import start
    from assay.guard.protect.attested import attested
    from assay.guard.protect.interface import Mode
    from assay.load import Loading, guard_of

    try:
        chosen = Mode(mode)
    except ValueError:
        raise UsageError(f"unknown mode {mode!r}", hint=f"one of {', '.join(Mode)}") from None
    how = how or Loading()
    allowed = None
    if imports:
        listed: Manifest | None = None
        try:
            listed = environment_manifest(environment, how)
        except UndecidedError:
            if chosen is Mode.ENFORCE:
                raise
        allowed = attested(listed, [os.fspath(folder) for folder in code], list(files), trust_cache=how.trust_cache)
    guard = guard_of(how)
    tell = _recorder(record) if record else start.warn if chosen is Mode.WARN else None
    return start.start(guard, chosen, allowed=allowed, targets=tuple(targets), tell=tell)


def environment_manifest(reference: str, how: Loading) -> Manifest:
    """The files that the newest signed bill of materials of an environment lists. Raises `UndecidedError` without one.

    Whether the environment is still like that is not asked here: each file is held against it when it is imported.
    """
    from datetime import UTC, datetime

    import msgspec

    from assay.api.anchors import anchors
    from assay.api.gathering import Gathered
    from assay.config import load as load_config
    from assay.evidence.verification import examine
    from assay.guard.protect.memory import remembered

    config = how.config if how.config is not None else load_config(None)
    problems = []
    memory = remembered(()) if how.trust_cache else None
    thing = _named(reference)
    expected = anchors(how.trust, config, thing.reference)
    with Gathered(thing, how.signature, how.directory, config, part=True) as evidence:
        for candidate in sorted(evidence.candidates, key=lambda item: -item.sequence):
            if candidate.discarded:
                continue
            known = _known(candidate, expected, memory) if memory is not None else None
            if known is not None:
                return known
            found = examine(candidate, expected, datetime.now(UTC))
            claimed = found.claims.manifest if found.claims else None
            if found.proof and claimed is not None and claimed.sha256:
                if memory is not None:
                    memory.entries.write(_entry(candidate), msgspec.msgpack.encode((claimed.names, claimed.sha256)))
                return claimed
            problems.append(found.problem or f"{candidate.source} lists no files")
        where = evidence.where
    why = problems[0] if problems else "there is none"
    raise UndecidedError(
        f"no bill of materials of {reference} that an expected signer signed is in {where}: {why}",
        hint="make one with 'assay bom env: -o attest', or protect without imports=True (--no-imports)",
    )


def _named(reference: str) -> Target:
    """An environment by its name alone: listing its files would cost more than checking those that are imported."""
    from array import array

    from assay.targets.environment import find_environment
    from assay.targets.interface import Facts, Options
    from assay.targets.listing import Listing
    from assay.targets.local import LocalTarget
    from assay.targets.names import parse

    parsed = parse(reference)
    if parsed.scheme != "env":
        raise UsageError(f"{reference} is not an environment", hint="env: is the running one, env:VENV another")
    prefix = find_environment(parsed.name).prefix
    return LocalTarget(
        parsed, os.path.basename(prefix) or "python", Facts(), Listing(prefix, [], array("Q")), Options()
    )


def _known(candidate: Candidate, expected: Sequence[Anchor], memory: Memory) -> Manifest | None:
    """The files of a statement that was read before; that somebody expected signed it is proved again."""
    from array import array
    from datetime import UTC, datetime

    import msgspec

    from assay.errors import DocumentError, SignatureError
    from assay.targets.interface import Manifest

    data = memory.entries.read(_entry(candidate))
    if data is None:
        return None
    for anchor in expected:
        try:
            anchor.prove(candidate.bundle, datetime.now(UTC))
        except (SignatureError, DocumentError):
            continue
        names, digests = msgspec.msgpack.decode(data, type=tuple[list[str], bytes])
        return Manifest(names, array("Q", bytes(8 * len(names))), digests, b"")
    return None


def _entry(candidate: Candidate) -> str:
    """What the file list of a statement is remembered by: everything in it that was signed."""
    import hashlib

    return f"files {hashlib.sha256(candidate.bundle.envelope.pae()).hexdigest()}"


def at_startup(mode: str, config: str | None, code: Sequence[str] = ()) -> None:
    """What the ``.pth`` file calls: a refusal ends the interpreter, since `site` would ignore an exception."""
    from assay.config import load as load_config
    from assay.guard.protect import start
    from assay.load import Loading

    if start.running():
        return  # site-packages can be reached by two paths, and the file is then read twice
    try:
        # Without a file of the administrator's the user's own counts, and never one in the current folder.
        protect(mode, code=code, how=Loading(config=load_config(config or _user_config())))
    except AssayError as error:
        _end(str(error), error.exit_code)
    except Exception as error:
        _end(f"protection failed: {type(error).__name__}: {error}", 3)


def _end(message: str, code: int) -> None:
    """End the interpreter, which has not started yet, without a traceback."""
    print(f"assay: {message}", file=sys.stderr, flush=True)
    os._exit(code)


def _user_config() -> str | None:
    from assay.config import config_home

    path = os.path.join(config_home(), "assay.yaml")
    return path if os.path.isfile(path) else os.devnull


def _recorder(path: str) -> Any:
    import json
    import threading

    lock = threading.Lock()
    file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - for the life of the process

    def tell(event: Event) -> None:
        line = {"kind": event.kind, "what": event.what, "reason": event.reason, "stopped": event.stopped}
        with lock:
            file.write(json.dumps(line) + "\n")
            file.flush()

    return tell


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m assay.protect [options] script.py [arguments]``."""
    parser = argparse.ArgumentParser(prog="python -m assay.protect", description="Run a script under protection.")
    parser.add_argument("--mode", default="enforce", choices=["enforce", "warn", "record"])
    parser.add_argument("--no-imports", action="store_true", help="leave imports alone, judge loads only")
    parser.add_argument("--code", action="append", default=[], metavar="DIR", help="folder of your own code")
    parser.add_argument("--target", action="append", default=[], metavar="DIR", help="folder with evidence as a whole")
    parser.add_argument(
        "--allow", action="append", default=[], metavar="NAME", help="module.Class that pickles may use"
    )
    parser.add_argument("--env", default="env:", metavar="TARGET", help="environment with a bill of materials")
    parser.add_argument("--key", action="append", default=[], metavar="FILE", help="public key that is trusted")
    parser.add_argument("--trust-cache", action="store_true", help="remember digests and compiled code of modules")
    parser.add_argument("-d", "--directory", metavar="DIR", help="evidence directory")
    parser.add_argument("--config", metavar="FILE", help="configuration instead of ./assay.yaml")
    parser.add_argument("--record", metavar="FILE", help="write what is not vouched for as JSON lines")
    parser.add_argument("script", help="Python file to run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    parsed = parser.parse_args(arguments)
    try:
        return _run(parsed)
    except AssayError as error:
        print(f"assay: {error}", file=sys.stderr)
        return error.exit_code


def _run(parsed: argparse.Namespace) -> int:
    import runpy

    from assay.api.anchors import TrustIn
    from assay.config import load as load_config
    from assay.load import Loading

    if not os.path.isfile(parsed.script):
        raise UsageError(f"{parsed.script} is not a file", hint="python -m assay.protect [options] script.py")
    how = Loading(
        TrustIn(tuple(parsed.key)),
        directory=parsed.directory,
        config=load_config(parsed.config),
        allow=tuple(parsed.allow),
        trust_cache=parsed.trust_cache,
    )
    protect(
        parsed.mode,
        imports=not parsed.no_imports,
        code=parsed.code,
        targets=parsed.target,
        environment=parsed.env,
        how=how,
        files=[parsed.script],
        record=parsed.record,
    )
    sys.argv = [parsed.script, *parsed.arguments]
    sys.path.insert(0, os.path.dirname(os.path.abspath(parsed.script)))
    runpy.run_path(parsed.script, run_name="__main__")
    return 0


class _Callable(ModuleType):
    """A module that can be called."""

    def __call__(self, *arguments: Any, **options: Any) -> Protection:
        return protect(*arguments, **options)


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    sys.exit(main())
