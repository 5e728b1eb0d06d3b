"""`run`: one step of a pipeline behind walls and under watch, with evidence of what it did, however it ends."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from assay.api.interrupting import Interrupting
from assay.api.keeping import store_path
from assay.api.run_evidence import builder, check_place, descriptions, examined, kept, printable, public, write_log
from assay.api.signers import SignWith, signer
from assay.api.steps import Step as Step
from assay.api.steps import environment_of, keep_apart, notebook, own_secrets, private_folder, wanted_by
from assay.config import Config, load
from assay.errors import UndecidedError

if TYPE_CHECKING:
    from assay.api.profiling import Compared, Profiling
    from assay.collect.behaviour.model import Profile
    from assay.collect.step.comparing import Before
    from assay.collect.step.interface import Files
    from assay.collect.step.statements import Made, Run
    from assay.collect.trace.interface import Trace
    from assay.evidence.statement import Subject
    from assay.guard.sandbox.interface import Plan, Walls, Wanted


class Ran(Struct, frozen=True):
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
    config = config if config is not None else load(None)
    # Who signs is settled first: nobody wants to hear after a day of training that the key is missing.
    secret, by = signer(signer_choice, config)
    where = store_path(directory, config)
    check_place(directory, config, flow_log)
    invocation = str(uuid.uuid4())
    step, cells = notebook(step)
    with private_folder() as temporary, Interrupting() as signals:
        environment = environment_of(step, temporary)
        wanted = wanted_by(step, temporary, environment, own_secrets(signer_choice, config))
        keep_apart(where, wanted, config)
        usual, known = _usual(profile, step, {**config.labels, **(labels or {})}, wanted, config)
        held = _held(profile, usual, wanted)
        plan = _planned(step, held)
        before, plan = _before(held, plan)
        started(plan)
        signals.take()
        with _walls(step, held, plan) as walls:
            trace = _traced(step, plan, held, walls, environment)
            written = walls.products()
            settled = walls.settle(True)
            _tell_refused(trace, walls)  # by the links that the step made, too: they are in their place now
        look = partial(examined, step, trace, wanted, written, before, directory, config)
        files, whole = signals.either(look, partial(look, digest=False))
        trace = _with_unseen(trace if whole else replace(trace, interrupted=trace.interrupted or "interrupted"), files)
        files = replace(files, warnings=[*settled, *files.warnings])
        from assay.collect.step import statements  # what comes after the step is loaded after it

        described = statements.Run(
            step.name or os.path.basename(step.command[0]),
            public(step.command),
            invocation,
            builder(secret),
            socket.gethostname() if identify else "hidden",
            sorted(map(printable, environment)),
            sorted(map(printable, step.secrets)),
            step.network,
            held.isolation.value,
            {"tier": str(plan.tier), "files": plan.files, "network": plan.network, "products": plan.products},
            tuple(plan.gaps),
            cells,
            {**step.parameters, **_by_profile(profile, known)},
        )
        said = descriptions(files, labels={**config.labels, **(labels or {})}, identify=identify)
        made = statements.statements(trace, files, described, annotations=said)
        compared = None
        if profile is not None and usual is not None:
            from assay.api.profiling import finish

            well = _succeeded(trace)
            compared = finish(profile, usual, known, trace, files, wanted, secret, succeeded=well, config=config)
            made.append(_compared(compared, described.step, trace, made[0].subjects))
        entries, bundles = kept(made, secret, directory, config, {**config.labels, **(labels or {})}, files)
        if flow_log is not None:
            write_log(trace, invocation, flow_log)
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
    from assay.collect.behaviour import sarif
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
    from assay.collect.behaviour.compare import alarms

    about = f"profile {usual.step}" + (f" of {usual.pipeline}" if usual.pipeline else "")
    return tell(about, alarms(compared.findings), config)


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


_COMPARED = "compared"
"""`Plan.products` where the outputs are looked at before and after the step."""


def _before(wanted: Wanted, plan: Plan) -> tuple[Before | None, Plan]:
    """What lies in the outputs, where no overlay will tell what was written; and the plan that says so."""
    from assay.collect.step.comparing import MOST, look
    from assay.collect.trace.interface import Gap
    from assay.guard.sandbox.walls import OVERLAY

    if plan.products == OVERLAY or not wanted.write:
        return None, plan
    found = look(wanted.write, without=set(_streams()))
    if found is not None:
        return found, replace(plan, products=_COMPARED)
    message = f"the outputs hold more than {MOST:,} files: what was written is known from opens, not by comparing"
    return None, replace(plan, gaps=(*plan.gaps, Gap("outputs-not-compared", message, ("files",))))


def _with_unseen(trace: Trace, files: Files) -> Trace:
    """The trace, which now says that there are products whose making it does not show."""
    from assay.collect.trace.interface import Gap

    if not files.unseen:
        return trace
    names = ", ".join(files.unseen[:3]) + (f" and {len(files.unseen) - 3:,} more" if len(files.unseen) > 3 else "")
    message = f"{names} changed in the outputs during the run, and nobody saw the step open, rename or link it"
    return replace(trace, gaps=(*trace.gaps, Gap("unseen-products", message, ("files",))))


@contextmanager
def _walls(step: Step, wanted: Wanted, plan: Plan) -> Iterator[Walls]:
    from assay.guard.sandbox.probe import forget, probe
    from assay.guard.sandbox.walls import put_up

    try:
        walls = put_up(wanted, probe(step.trace), plan)
        try:
            yield walls
        finally:
            walls.close()
    except UndecidedError:
        forget()  # what was found out about this place, and remembered, may be why
        raise


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
    streams = list(map(os.fsencode, _streams()))
    files = dict(trace.files)
    for path in set(streams) & files.keys():
        use = files[path]
        once = use.read + use.written <= 2 * streams.count(path)  # one that is open for both counts twice
        if once and not (use.removed or use.appeared or use.executed):
            del files[path]
    return replace(trace, files=files)


def _streams() -> Iterator[str]:
    """The files behind our own standard streams."""
    for number in range(3):
        with suppress(OSError):
            yield os.readlink(f"/proc/self/fd/{number}")
