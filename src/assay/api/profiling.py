"""`profile`: holding a run against what its step usually does, learning it, and accepting what was unusual.

Whatever is wrong with a profile stops the run before the step starts. A run with a severe finding, and one that did not
succeed, are never learned by themselves.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from assay.api.profile_files import SIGNATURE, open_profile, save_profile, sign_file
from assay.api.signers import SignWith, signer
from assay.config import Config, load
from assay.errors import AssayError, UsageError
from assay.files import read_file

if TYPE_CHECKING:
    from assay.alerts.finding import Finding
    from assay.collect.behaviour.interface import Facts, Places
    from assay.collect.behaviour.model import Profile
    from assay.collect.step.interface import Files
    from assay.collect.trace.interface import Trace
    from assay.evidence.signers.interface import Signer
    from assay.guard.sandbox.interface import Wanted

WAITING = ".waiting"
"""Ending of the file beside a profile with the run that waits for somebody's acceptance."""


@dataclass(frozen=True, slots=True)
class Profiling:
    """What a run does with a profile."""

    path: str
    """The profile's file; it need not be there yet when it is to be learned."""
    learn: bool = False
    """Add the run, unless it failed or a finding is severe."""
    enforce: bool = False
    """Allow the step only what the profile has learned."""
    keys: tuple[str, ...] = ()
    """Public key files of those who may sign it; by default whoever the configuration trusts, else one's own key."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What became of one run."""

    findings: Sequence[Finding]
    """Worst first."""
    runs: int
    """How many runs the profile knew."""
    sha256: str
    """Hex digest of the profile's file; that of no bytes where there was none."""
    facts: Facts
    learned: str
    """In a sentence, what became of the profile; empty when nothing was to be learned."""

    @property
    def severe(self) -> bool:
        """Whether the run fails because of a finding."""
        from assay.collect.behaviour.compare import severe

        return bool(severe(self.findings))


def begin(
    wish: Profiling, *, step: str, labels: dict[str, str], wanted: Wanted, config: Config
) -> tuple[Profile, str | None]:
    """The profile to hold a run against, and its file's digest; a new one, without a digest, where there is none and
    one is to be learned. Raises `AssayError` for one of another step, and when it may not count.
    """
    from assay.collect.behaviour.model import Profile, seeded
    from assay.guard.sandbox.paths import beneath

    pipeline, image = labels.get("pipeline", ""), labels.get("image", "")
    real = os.path.realpath(wish.path)
    if any(beneath(real, folder) for folder in wanted.write):
        # Signed or not: the step could put an older one back.
        raise UsageError(f"the profile {wish.path} lies where the step may write", hint="keep it beside the code")
    if not os.path.isdir(os.path.dirname(real)):
        raise UsageError(f"there is no folder for the profile {wish.path}")
    if not os.path.exists(wish.path) and wish.learn and not wish.enforce:
        network = None if wanted.network is None else [str(item) for item in wanted.network]
        return seeded(Profile(step, pipeline, image), network, len(wanted.read), len(wanted.write)), None
    opened = open_profile(wish.path, keys=wish.keys, config=config)
    profile = opened.profile
    if opened.state.action == "waiting":
        raise UsageError(f"{wish.path} is a run that waits for acceptance, not a profile")
    for word, mine, its in (
        ("step", step, profile.step),
        ("pipeline", pipeline, profile.pipeline),
        ("image", image, profile.image),
    ):
        if mine != its:
            raise UsageError(
                f"{wish.path} is the profile of the {word} {its!r}, and this run's is {mine!r}",
                hint="one profile each: --step NAME, -L pipeline=NAME, -L image=DIGEST say which this is",
            )
    return profile, opened.sha256


def finish(
    wish: Profiling,
    profile: Profile,
    digest: str | None,
    trace: Trace,
    files: Files,
    wanted: Wanted,
    secret: Signer,
    *,
    succeeded: bool,
    config: Config,
    now: datetime | None = None,
) -> Compared:
    """Compare a run with its profile, and learn it where that was asked for and nothing severe was found. Does not
    raise for a profile that cannot be written: the run has its evidence all the same.
    """
    from assay.collect.behaviour.compare import compare
    from assay.collect.behaviour.facts import facts as facts_of

    found = facts_of(trace, places(wanted, files))
    compared = Compared(compare(profile, found), profile.runs, digest or sha256().hexdigest(), found, "")
    moment = (now or datetime.now(UTC)).replace(microsecond=0)
    try:
        if wish.learn and not succeeded:
            learned = "not learned: the step did not succeed"
        elif compared.severe and succeeded and not wish.enforce:
            _wait(wish.path, profile, compared, secret, moment)
            learned = f"not learned; if all of it is right: assay profile accept {wish.path} --by YOU --reason TEXT"
        elif wish.learn and not compared.severe:
            learned = _learn(wish, profile, digest, found, secret, config, moment)
        else:
            learned = ""
    except AssayError as error:
        learned = f"not learned: {error.message}"
    except OSError as error:
        learned = f"not learned: {wish.path} cannot be written: {error.strerror or error}"
    return replace(compared, learned=learned)


def _wait(path: str, profile: Profile, compared: Compared, secret: Signer, now: datetime) -> None:
    """Write the run down by itself, beside the profile."""
    from assay.collect.behaviour.compare import severe
    from assay.collect.behaviour.model import as_profile
    from assay.evidence.predicates.profile import ProfileState

    keys = [item.key for item in severe(compared.findings)][:1000]
    state = ProfileState(step=profile.step, runs=1, action="waiting", made=now, findings=keys)
    save_profile(path + WAITING, as_profile(compared.facts, profile), state, secret)


def _learn(
    wish: Profiling, profile: Profile, digest: str | None, found: Facts, secret: Signer, config: Config, now: datetime
) -> str:
    """Add the run to the profile as it is now: while the step ran, another run may have been learned or accepted."""
    from assay.collect.behaviour.model import learn
    from assay.evidence.predicates.profile import ProfileState

    if digest is not None or os.path.exists(wish.path):
        opened = open_profile(wish.path, keys=wish.keys, config=config)
        profile, digest = opened.profile, opened.sha256
    made = learn(profile, found)
    state = ProfileState(
        step=made.step,
        runs=made.runs,
        action="learned",
        made=now,
        pipeline=made.pipeline or None,
        image=made.image or None,
        previous={"sha256": digest} if digest else None,
    )
    save_profile(wish.path, made, state, secret)
    runs = f"{made.runs} run{'' if made.runs == 1 else 's'}"
    return f"learned: {runs}, {len(made.facts):,} facts in {wish.path}"


def places(wanted: Wanted, files: Files) -> Places:
    """Where the files of a run lie, and which digests they have."""
    from assay.collect.behaviour.interface import Places
    from assay.guard.sandbox import paths

    digests = {item.path: item.sha256 for item in files.materials if item.sha256 is not None}
    home = os.path.realpath(os.path.expanduser("~"))
    return Places(
        os.path.realpath(wanted.directory),
        tuple(wanted.read),
        tuple(wanted.write),
        tuple(wanted.installation),
        wanted.temporary,
        "" if home == "/" else home,
        paths.sensitive(wanted),
        frozenset(_streams()),
        digests.get,
    )


def _streams() -> list[str]:
    """The files that our standard streams go to: the step writes there what it prints."""
    found = []
    for number in range(3):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return found


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What `accept` made."""

    path: str
    runs: int
    facts: int
    findings: Sequence[Finding]
    """What was accepted; empty when only the file itself was signed."""
    by: str
    """Who signed, in words."""


def accept(
    path: str,
    *,
    by: str,
    reason: str,
    run: str | None = None,
    keys: Sequence[str] = (),
    signer_choice: SignWith = SignWith(),  # noqa: B008 - frozen
    config: Config | None = None,
    now: datetime | None = None,
) -> Acceptance:
    """Learn the run that waits beside a profile (or ``run``, a file) in spite of its findings, and sign the profile.
    Without a waiting run the file is signed as it is: that is how somebody's own changes are accepted.

    ``by`` is a person's name and ``reason`` why it is right; both are part of what is signed. Raises `AssayError`.
    """
    from assay.collect.behaviour import document
    from assay.collect.behaviour.compare import compare
    from assay.collect.behaviour.model import Profile, as_facts, learn
    from assay.evidence.predicates.profile import ProfileState

    config = config if config is not None else load(None)
    if not by.strip() or not reason.strip():
        raise UsageError("somebody accepts it, and says why", hint="--by NAME --reason TEXT")
    secret, signed_by = signer(signer_choice, config)
    moment = (now or datetime.now(UTC)).replace(microsecond=0)
    waiting = run if run is not None else path + WAITING
    findings: list[Finding] = []
    if run is None and not os.path.exists(waiting):
        data = read_file(path, document.MAX_BYTES)
        made, previous = document.load(data, path), sha256(data).hexdigest()
    else:
        alone = open_profile(waiting, keys=keys, config=config, now=now).profile
        if os.path.exists(path):
            opened = open_profile(path, keys=keys, config=config, now=now)
            profile, previous = opened.profile, opened.sha256
        else:
            profile, previous = Profile(alone.step, alone.pipeline, alone.image), ""
        if alone.step != profile.step:
            raise UsageError(f"{waiting} is a run of {alone.step!r}, and {path} is the profile of {profile.step!r}")
        facts = as_facts(alone)
        findings = compare(profile, facts)
        made = learn(profile, facts)
        data = document.dump(made)
    state = ProfileState(
        step=made.step,
        runs=made.runs,
        action="accepted",
        made=moment,
        pipeline=made.pipeline or None,
        image=made.image or None,
        by=by.strip(),
        reason=reason.strip(),
        findings=[item.key for item in findings][:1000],
        previous={"sha256": previous} if previous else None,
    )
    sign_file(path, data, state, secret)
    if os.path.exists(path + WAITING) and waiting == path + WAITING:
        os.unlink(waiting)
        os.unlink(waiting + SIGNATURE)
    return Acceptance(path, made.runs, len(made.facts), findings, signed_by)


def difference(path: str, other: str | None, *, keys: Sequence[str] = (), config: Config) -> list[tuple[str, str, str]]:
    """What ``other`` (by default the waiting run) has beyond or short of the profile in ``path``: (sign, kind, text)
    with ``+``, ``-``, or ``~`` for other bytes. A single run is not blamed for what it lacks. Both must be signed.
    """
    from assay.collect.behaviour.model import Profile

    other = other if other is not None else path + WAITING
    if not os.path.exists(other):
        raise UsageError(f"{other} is not there: no run waits for acceptance", hint="name another profile to compare")
    before = open_profile(path, keys=keys, config=config).profile if os.path.exists(path) else Profile("")
    after = open_profile(other, keys=keys, config=config).profile
    made = [("+", fact) for fact in after.facts if before.known(fact, tried=True) is None]
    made += [("-", fact) for fact in before.facts if after.runs != 1 and after.known(fact, tried=True) is None]
    for fact, known in after.facts.items():
        was = before.known(fact, tried=True)
        if was is not None and was.sha256 and set(known.sha256) - set(was.sha256):
            made.append(("~", fact))
    return [(sign, fact.kind.value, fact.text) for sign, fact in sorted(made, key=lambda item: item[1])]
