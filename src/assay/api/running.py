"""`run`: one step of a pipeline behind walls and under watch, with evidence of what it did, however it ends."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assay.api.keeping import open_store, store_path
from assay.api.signers import SignWith, signer
from assay.config import Config, cache_home, config_home, default_key, load
from assay.errors import AssayError, UndecidedError, UsageError
from assay.files import read_file

if TYPE_CHECKING:
    from assay.api.profiling import Compared, Profiling
    from assay.collect.profile.model import Profile
    from assay.collect.step.interface import Files
    from assay.collect.step.statements import Made, Run
    from assay.collect.trace.interface import Trace
    from assay.evidence.signers.interface import Signer
    from assay.evidence.statement import Subject
    from assay.guard.sandbox.interface import Plan, Walls, Wanted


@dataclass(frozen=True, slots=True)
class Step:
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


@dataclass(frozen=True, slots=True)
class Ran:
    """A step that ended, one way or the other."""

    step: str
    outcome: str
    """``success``, ``failed``, ``killed`` or ``interrupted``."""
    exit_code: int
    """For the shell: the step's own, or 128 and the signal's number."""
    trace: Trace
    files: Files
    plan: Plan
    by: str
    entries: Mapping[str, str]
    """Predicate type to the digest under which the store keeps that statement."""
    store: str
    bundles: Sequence[bytes]
    """The signed statements."""
    run: Run
    compared: Compared | None = None
    """What came of the comparison with a profile."""
    notes: Sequence[str] = ()
    """Sentences for the user about alerts that could not be sent."""

    @property
    def refused(self) -> int:
        """Attempts that the walls stopped."""
        from assay.collect.trace.interface import Decision

        counted = sum(item.denied for item in self.trace.files.values())
        counted += sum(item.decision is Decision.DENIED for item in self.trace.contacts)
        return counted + sum(item.decision is Decision.DENIED for item in self.trace.calls)


def run(
    step: Step,
    *,
    signer_choice: SignWith = SignWith(),  # noqa: B008 - frozen
    directory: str | None = None,
    labels: Mapping[str, str] | None = None,
    config: Config | None = None,
    identify: bool = False,
    flow_log: str | None = None,
    profile: Profiling | None = None,
    started: Callable[[Plan], None] = lambda plan: None,
) -> Ran:
    """Run ``step`` and keep its evidence: link, runtime trace and, when it succeeds, provenance, signed, in the store.

    ``profile``: what the step usually does; the run is held against it, and the findings are evidence (SARIF), alerts,
    and, from severity high on, exit code 1. ``flow_log``: a file for the network's log (VPC flow log version 2 lines),
    with JSON Lines beside it. ``started`` is told the plan before the step starts. Raises `AssayError` when the step
    did not start: `UndecidedError` where something that was asked for cannot be had here. A step that fails does not
    raise.
    """
    from assay.api.profiling import finish
    from assay.collect.step import statements

    config = config if config is not None else load(None)
    # Who signs is settled first: nobody wants to hear after a day of training that the key is missing.
    secret, by = signer(signer_choice, config)
    where = store_path(directory, config)
    _keepable(directory, config, flow_log)
    invocation = str(uuid.uuid4())
    step, cells = _notebook(step)
    with _temporary() as temporary:
        environment = _environment(step, temporary)
        wanted = _wanted(step, temporary, environment, _own_secrets(signer_choice, config))
        _apart(where, wanted, config)
        usual, before = _usual(profile, step, {**config.labels, **(labels or {})}, wanted, config)
        held = _held(profile, usual, wanted)
        plan = _planned(step, held)
        started(plan)
        with _walls(step, held, plan) as walls:
            trace = _traced(step, plan, held, walls, environment)
            written = walls.products()
            settled = walls.settle(True)
            _tell_refused(trace, walls)  # by the links that the step made, too: they are in their place now
        files = _examined(step, trace, wanted, written, directory, config)
        files = replace(files, warnings=[*settled, *files.warnings])
        described = statements.Run(
            step.name or os.path.basename(step.command[0]),
            _public(step.command),
            invocation,
            _builder(secret),
            socket.gethostname() if identify else "hidden",
            sorted(map(_printable, environment)),
            sorted(map(_printable, step.secrets)),
            step.network,
            held.isolation.value,
            {"tier": str(plan.tier), "files": plan.files, "network": plan.network, "products": plan.products},
            tuple(plan.gaps),
            cells,
            {**step.parameters, **_by_profile(profile, before)},
        )
    said = _annotations(files, labels={**config.labels, **(labels or {})}, identify=identify)
    made = statements.statements(trace, files, described, annotations=said)
    compared = None
    if profile is not None and usual is not None:
        well = _succeeded(trace)
        compared = finish(profile, usual, before, trace, files, wanted, secret, succeeded=well, config=config)
        made.append(_compared(compared, described.step, trace, made[0].subjects))
    entries, bundles = _kept(made, secret, directory, config, {**config.labels, **(labels or {})}, files)
    if flow_log is not None:
        _log(trace, invocation, flow_log)
    code = trace.exit_code if trace.exit_code is not None else 128 + (trace.signal or 0)
    outcome = statements.outcome(trace)
    code = code or (130 if outcome == statements.INTERRUPTED else 0)
    notes: Sequence[str] = ()
    if compared is not None and usual is not None:
        notes = _told(compared, usual, config)
        code = code or int(compared.severe)
    return Ran(
        described.step, outcome, code, trace, files, plan, by, entries, where, bundles, described, compared, notes
    )


def _succeeded(trace: Trace) -> bool:
    from assay.collect.step import statements

    return statements.outcome(trace) == statements.SUCCESS


def _usual(
    wish: Profiling | None, step: Step, labels: dict[str, str], wanted: Wanted, config: Config
) -> tuple[Profile | None, str | None]:
    """The profile of the step, proved before the step starts, and its file's digest."""
    if wish is None:
        return None, None
    from assay.api.profiling import begin

    name = step.name or os.path.basename(step.command[0])
    return begin(wish, step=name, labels=labels, wanted=wanted, config=config)


def _held(wish: Profiling | None, usual: Profile | None, wanted: Wanted) -> Wanted:
    """What the walls are put up for: what was declared, or what the profile has learned."""
    if wish is None or usual is None or not wish.enforce:
        return wanted
    from assay.api.enforcing import enforced

    return enforced(usual, wanted)


def _by_profile(wish: Profiling | None, digest: str | None) -> dict[str, Any]:
    """What the provenance says about the profile that a run was held to."""
    if wish is None or digest is None:
        return {}
    return {"profile": {"name": os.path.basename(wish.path), "sha256": digest, "enforced": wish.enforce}}


def _compared(compared: Compared, step: str, trace: Trace, about: tuple[Subject, ...]) -> Made:
    """The findings as evidence about what the run made."""
    from assay.collect.profile import sarif
    from assay.collect.step.statements import Made

    document = sarif.log(
        compared.findings,
        step=step,
        runs=compared.runs,
        sha256=compared.sha256,
        started=trace.started,
        finished=trace.finished,
        complete=trace.mechanism != "audit-hook",  # which sees what a program lets it see
    )
    return Made(sarif.PREDICATE_TYPE, document, about)


def _told(compared: Compared, usual: Profile, config: Config) -> Sequence[str]:
    """Tell the sinks of what is an alarm; those of an earlier run that are none any more are resolved."""
    from assay.api.announcing import tell
    from assay.collect.profile.compare import alarms

    about = f"profile {usual.step}" + (f" of {usual.pipeline}" if usual.pipeline else "")
    return tell(about, alarms(compared.findings), config)


def _notebook(step: Step) -> tuple[Step, Mapping[str, str]]:
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


def _planned(step: Step, wanted: Wanted) -> Plan:
    from assay.guard.sandbox.plan import plan
    from assay.guard.sandbox.probe import probe

    chosen = plan(wanted, probe(step.trace), step.trace)
    if chosen.missing and not step.allow_degraded:
        raise UndecidedError(
            f"this place cannot hold what was asked for: {'; '.join(chosen.missing)}",
            hint="'assay doctor' says what works here; --allow-degraded runs without, and the evidence says so",
        )
    return chosen


def _wanted(step: Step, temporary: str, environment: Mapping[str, str], hidden: Sequence[str]) -> Wanted:
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


def _own_secrets(choice: SignWith, config: Config) -> list[str]:
    """Files of ours that no step may see, wherever the user keeps them."""
    named = (choice.key, choice.passphrase_file, choice.identity_token)
    configured = config.path(config.signing.key) if config.signing.key else None
    return [os.path.realpath(path) for path in (*named, configured, default_key()) if path]


def _apart(store: str, wanted: Wanted, config: Config) -> None:
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


def _environment(step: Step, temporary: str) -> dict[str, str]:
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
            raise UsageError(f"the secret {name} has no source that is there", hint="env:NAME or file:PATH")
        if "\0" in made[name]:
            raise UsageError(f"the secret {name} holds a byte 0, which no variable can")
    return made


@contextmanager
def _temporary() -> Iterator[str]:
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


@contextmanager
def _walls(step: Step, wanted: Wanted, plan: Plan) -> Iterator[Walls]:
    from assay.guard.sandbox.probe import probe
    from assay.guard.sandbox.walls import put_up

    walls = put_up(wanted, probe(step.trace), plan)
    try:
        yield walls
    finally:
        walls.close()


def _traced(step: Step, plan: Plan, wanted: Wanted, walls: Walls, environment: Mapping[str, str]) -> Trace:
    from assay.collect.trace.interface import Launch
    from assay.collect.trace.tracers import TRACERS
    from assay.guard.sandbox import paths

    # Strict mode opens the declared inputs itself: there a racing thread cannot lie about what was read.
    mediate = [os.fsencode(path) for path in paths.inputs(wanted)] if wanted.isolation == "strict" else []
    launch = Launch(
        step.command,
        {**environment, **walls.environment},
        wanted.directory,
        walls.confine,
        mediate,
        step.allow_io_uring,
        step.seconds,
    )
    return _without_streams(TRACERS[plan.trace].run(launch, walls.arbiter))


def _tell_refused(trace: Trace, walls: Walls) -> None:
    """Mark what the kernel's rules have refused: it told only the step."""
    for use in trace.files.values():
        if rule := walls.refused(use):
            use.rule = rule
            changes = use.written + use.appeared + use.removed
            uses = use.read + use.listed + use.executed
            use.denied = max(use.denied, changes if "write" in rule or rule == "persistence" else uses)


def _without_streams(trace: Trace) -> Trace:
    """The trace without our own standard streams: whoever redirected them opened those files, and not the step. Beyond
    that one use each they count as any other file.
    """
    streams: list[bytes] = []
    for number in range(3):
        with suppress(OSError):
            streams.append(os.fsencode(os.readlink(f"/proc/self/fd/{number}")))
    files = dict(trace.files)
    for path in set(streams) & files.keys():
        use = files[path]
        once = use.read + use.written <= 2 * streams.count(path)  # one that is open for both counts twice
        if once and not (use.removed or use.appeared or use.executed):
            del files[path]
    return replace(trace, files=files)


def _examined(
    step: Step, trace: Trace, wanted: Wanted, written: Sequence[str] | None, directory: str | None, config: Config
) -> Files:
    from assay.collect.step.files import Places, examine

    places = Places(
        step.name or os.path.basename(step.command[0]),
        wanted.directory,
        wanted.read,
        wanted.write,
        wanted.installation,
        wanted.temporary,
    )
    return examine(trace, places, written=written, attestations=_attestations(directory, config))


def _attestations(directory: str | None, config: Config) -> Callable[[str], Sequence[Mapping[str, str]]]:
    """How evidence about an input is found: in the store, by its contents, signed by somebody whom we would trust."""
    from assay.api.anchors import TrustIn, anchors_of, named
    from assay.evidence import documents, listing
    from assay.evidence.witnesses import weak, witnesses

    if not os.path.isdir(store_path(directory, config)):
        return lambda contents: ()
    try:
        expected = [anchor for rule in config.trust for anchor in named(rule, config)] or anchors_of(TrustIn())
    except AssayError:
        return lambda contents: ()

    def find(contents: str) -> Sequence[Mapping[str, str]]:
        found = []
        with open_store(directory, config=config) as store:
            for entry in store.find(digest=contents, limit=50):
                for bundle in documents.read_documents(store.read(entry), entry.blob[:12])[:1]:
                    statement, _ = listing.read(bundle, entry.blob[:12])
                    about = any(contents in subject.strong.values() for subject in statement.subjects)
                    proofs, _ = witnesses(bundle, expected, datetime.now(UTC))
                    if about and proofs and weak(statement) is None:
                        made = {"digest": entry.blob, "predicateType": statement.predicate_type}
                        found.append({**made, "by": str(proofs[0][1])})
        return found

    return find


def _annotations(files: Files, *, labels: Mapping[str, str], identify: bool) -> list[dict[str, Any]]:
    """What each output's subject is described by, as in every other statement of ours about a folder."""
    from assay.api.subjects import described
    from assay.targets.interface import Options
    from assay.targets.registry import resolve

    made = []
    now = datetime.now(UTC)
    for folder in files.outputs:
        with resolve(f"dir:{folder.path}", Options(trust_cache=True)) as thing:
            manifest = thing.manifest(blake3=False)
            made.append(described(thing, manifest, Options(), now=now, labels=labels, identify=identify))
    return made


def _kept(
    made: Sequence[Made],
    secret: Signer,
    directory: str | None,
    config: Config,
    labels: Mapping[str, str],
    files: Files,
) -> tuple[dict[str, str], list[bytes]]:
    """Sign the statements, and keep them in the store."""
    from assay.evidence.statement import Statement

    entries: dict[str, str] = {}
    bundles = []
    now = datetime.now(UTC)
    target = f"dir:{files.outputs[0].name}" if files.outputs else None
    with open_store(directory, config=config, create=True) as store:
        for item in made:
            bundle = secret.sign(Statement(item.subjects, item.predicate_type, item.predicate).dump())
            bundles.append(bundle.raw)
            entries[item.predicate_type] = store.add(bundle.raw, now=now, labels=labels, target=target).blob
    return entries, bundles


def _builder(secret: Signer) -> str:
    """SLSA's builder is who vouches for the run: whoever holds the key, or whom the certificate names."""
    from assay.evidence.signers.key import CertificateSigner, KeySigner

    if isinstance(secret, KeySigner | CertificateSigner):
        return f"https://assay.dev/builder/key/{secret.key.public.key_id}"
    return "https://assay.dev/builder/sigstore"


def _public(command: Sequence[str]) -> list[str]:
    """The command without this machine's folders in the name of the program: two machines' runs are alike. Bytes that
    are no UTF-8 stand as ``\\xNN``.
    """
    words = [os.path.basename(command[0]) if os.path.isabs(command[0]) else command[0], *command[1:]]
    return list(map(_printable, words))


def _printable(text: str) -> str:
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _keepable(directory: str | None, config: Config, flow_log: str | None) -> None:
    """Whether evidence can be kept at all, asked before the step has begun. Raises `AssayError`."""
    open_store(directory, config=config, create=True).close()
    place = store_path(directory, config)
    if not os.access(place, os.W_OK | os.X_OK):  # also of a file system that is read-only
        raise UsageError(f"nothing can be written to the evidence directory {place}", hint="name another with -d")
    if flow_log is not None and not os.access(os.path.dirname(os.path.abspath(flow_log)), os.W_OK | os.X_OK):
        raise UsageError(f"the flow log {flow_log!r} cannot be written", hint="name a file in a folder that is there")


def _log(trace: Trace, invocation: str, path: str) -> None:
    from assay.collect.trace import flow_log
    from assay.files import write_atomic

    write_atomic(path, flow_log.lines(trace, invocation))
    write_atomic(f"{path}.jsonl", flow_log.json_lines(trace, invocation))
