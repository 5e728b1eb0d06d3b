"""`packages vet` and `wheelhouse`: what a lock pins, looked at; and kept, signed, for steps without network.

The user's own pip downloads; what it brings is judged here. A wheelhouse is complete and signed, or it is not there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assay.api.package_locking import Demands, served
from assay.api.signers import SignWith, signer
from assay.collect.packages import fetching, files, judging, locks, osv, requirements, settings, wheels
from assay.collect.packages.findings import Finding, exit_code
from assay.collect.packages.locks import Locked
from assay.config import Config, load
from assay.errors import ChangedError, UsageError
from assay.files import read_file, sync_directory, write_atomic

if TYPE_CHECKING:
    from assay.policy.verdict import Decision

MANIFEST = "wheelhouse.json"
"""The wheelhouse's list of contents."""
LOCK = "requirements.txt"
"""The lock inside of a wheelhouse."""


@dataclass(frozen=True, slots=True)
class Vetted:
    """What `vet` and `wheelhouse` found."""

    packages: tuple[Locked, ...]
    wheels: tuple[wheels.Wheel, ...]
    """Of those packages that apply to this machine; empty when they were not at hand."""
    findings: tuple[Finding, ...]
    known: osv.Answer | None
    """Known vulnerabilities; None when nobody was asked."""
    not_done: tuple[str, ...] = ()
    """What was not looked at."""
    notes: tuple[str, ...] = ()
    attested: int = 0
    """Packages of which the index offers attestations (PEP 740), which are not verified."""
    decision: Decision | None = None
    """The policy's, where there is one."""
    by: str | None = None
    entries: tuple[str, ...] = ()
    """Digests under which the store keeps the evidence."""
    contents: str | None = None
    """SHA-256 (hex) of the wheelhouse."""

    @property
    def exit_code(self) -> int:
        """0 accepted, 1 rejected, 3 undecided; known vulnerabilities reject where no policy decides about them."""
        codes = [exit_code(self.findings)]
        if self.decision is not None:
            codes.append(self.decision.exit_code)
        elif self.known is not None and self.known.known:
            codes.append(1)
        return min((code for code in codes if code), default=0)


def vet(
    lock: str,
    *,
    demands: Demands = Demands(),  # noqa: B008 - frozen
    wheelhouse: str | None = None,
    vulnerabilities: str | None = None,
    policy: str | None = None,
    attest: bool = False,
    offline: bool = False,
    signer_choice: SignWith = SignWith(),  # noqa: B008 - frozen
    directory: str | None = None,
    labels: Mapping[str, str] | None = None,
    config: Config | None = None,
    identify: bool = False,
    now: datetime | None = None,
) -> Vetted:
    """Look at everything that a lock pins: the index's word, the wheels' contents, known vulnerabilities.

    The wheels are those in the folder ``wheelhouse``, else they are downloaded and thrown away. ``vulnerabilities`` is
    an OSV export or a server. With ``policy`` (or ``attest``) what was found is signed evidence about the lock file,
    which the policy then decides about. ``offline`` asks no index. Raises `AssayError`.
    """
    from assay.targets.registry import resolve

    now = (now or datetime.now(UTC)).replace(microsecond=0)
    config = config if config is not None else load(None)
    secret, by = signer(signer_choice, config) if attest or policy else (None, None)
    if offline and vulnerabilities is not None and "://" in vulnerabilities:
        raise UsageError("--offline excludes an address for --osv", hint="give an export: --osv all.zip")
    data = read_file(lock, requirements.MAX_FILE)
    with tempfile.TemporaryDirectory(prefix="assay-vet-") as place:
        folder = wheelhouse or (None if offline else place)
        made = _vetted(
            data,
            lock,
            demands,
            now,
            folder,
            download=wheelhouse is None,
            asks=not offline,
            vulnerabilities=vulnerabilities,
        )
    if secret is None or made.findings:  # evidence is stated of what could be vetted to its end
        return made
    from assay.api import package_evidence as evidence

    how = evidence.How(secret, directory, labels, config, identify, now)
    with resolve(f"file:{lock}") as thing:
        if next(iter(thing.manifest())).sha256 != hashlib.sha256(data).digest():
            raise ChangedError(f"{lock} changed while it was vetted", hint="vet it again when it is at rest")
        stated = evidence.attest(thing, made.packages, made.wheels, made.known, how)
    decision = _decided(f"file:{lock}", policy, signer_choice, directory, config, now) if policy else None
    return _replaced(made, decision=decision, by=by, entries=tuple(item.entry or "" for item in stated))


def wheelhouse(
    lock: str,
    output: str,
    *,
    demands: Demands = Demands(),  # noqa: B008 - frozen
    vulnerabilities: str | None = None,
    policy: str | None = None,
    signer_choice: SignWith = SignWith(),  # noqa: B008 - frozen
    directory: str | None = None,
    labels: Mapping[str, str] | None = None,
    config: Config | None = None,
    identify: bool = False,
    now: datetime | None = None,
) -> Vetted:
    """Download what ``lock`` pins, vet it, and keep it in the new folder ``output``, signed as `sign` signs a model.

    The folder is complete and signed, or it is not there. Raises `AssayError`.
    """
    from assay.api import package_evidence as evidence
    from assay.api.signing import sign
    from assay.targets.registry import resolve

    now = (now or datetime.now(UTC)).replace(microsecond=0)
    config = config if config is not None else load(None)
    secret, by = signer(signer_choice, config)
    output = os.path.abspath(output)
    if os.path.lexists(output):
        raise UsageError(
            f"{output} is there already", hint="a wheelhouse is made anew: name a folder that is not there"
        )
    parent = os.path.dirname(output)
    if not os.path.isdir(parent):
        raise UsageError(f"there is no folder {parent}")
    data = read_file(lock, requirements.MAX_FILE)
    kept = {"directory": directory, "config": config, "now": now}
    with tempfile.TemporaryDirectory(prefix=f".{os.path.basename(output)[:80]}.", dir=parent) as place:
        folder = os.path.join(place, "made")
        os.mkdir(folder)
        made = _vetted(data, lock, demands, now, folder, download=True, asks=True, vulnerabilities=vulnerabilities)
        if exit_code(made.findings) or (made.exit_code and policy is None):
            return made
        write_atomic(os.path.join(folder, LOCK), locks.render(made.packages))
        write_atomic(os.path.join(folder, MANIFEST), _manifest(made))
        os.rename(folder, output)
    try:
        how = evidence.How(secret, directory, labels, config, identify, now)
        with resolve(f"dir:{output}") as thing:
            stated = evidence.attest(thing, made.packages, made.wheels, made.known, how)
        decision = _decided(f"dir:{output}", policy, signer_choice, directory, config, now) if policy else None
        made = _replaced(made, decision=decision, by=by, entries=tuple(item.entry or "" for item in stated))
        if made.exit_code:
            shutil.rmtree(output)
            return made
        signed = sign(f"dir:{output}", signer_choice=signer_choice, labels=labels, identify=identify, **kept)  # type: ignore[arg-type]
    except BaseException:
        shutil.rmtree(output, ignore_errors=True)
        raise
    sync_directory(parent)
    return _replaced(made, contents=signed.contents)


def _replaced(made: Vetted, **changes: Any) -> Vetted:
    from dataclasses import replace

    return replace(made, **changes)


def _vetted(
    data: bytes,
    path: str,
    demands: Demands,
    now: datetime,
    folder: str | None,
    *,
    download: bool,
    asks: bool,
    vulnerabilities: str | None,
) -> Vetted:
    """Everything that can be looked at; each thing that was not is named."""
    packages, findings = locks.read(data, os.path.basename(path))
    if findings:
        return Vetted(tuple(packages), (), tuple(findings), None, ("everything else: the lock itself is no lock",))
    rules = demands.rules(now)
    if rules.sdists:
        raise UsageError("--allow-sdist is for 'assay packages lock': here there are wheels only")
    notes: list[str] = []
    not_done: list[str] = []
    attested = 0
    known = settings.read("download") if asks else None
    if known is None:
        not_done.append("age, withdrawals and who serves a name: no index was asked")
        findings.append(
            Finding("offline", os.path.basename(path), "no index was asked about age and withdrawals", undecided=True)
        )
    else:
        pages = served([package.name for package in packages], known)
        for package in packages:
            judged = judging.judge(package.name, package.version, pages[package.name], rules, package.hashes)
            findings += judged.findings
            notes += judged.notes
            attested += any(file.attested for file in judged.files)
        if attested:
            not_done.append(
                f"attestations (PEP 740): the index offers them for {attested} package(s), none was verified"
            )
    held: list[wheels.Wheel] = []
    if folder is None:
        not_done.append("the wheels' contents and licences: there is no --wheelhouse")
        findings.append(Finding("offline", os.path.basename(path), "the wheels were not looked at", undecided=True))
    elif not any(not finding.undecided for finding in findings):  # what is rejected already is not downloaded
        if download and known is not None:
            fetching.download(packages, folder, known, demands.python)
        found, more = fetching.compare(packages, folder)
        findings += more
        startup = frozenset(files.name_of(name) for name in demands.startup)
        held = [wheels.examine(os.path.join(folder, name), startup=startup) for name in sorted(found)]
        findings += [finding for wheel in held for finding in wheel.findings]
    answer = None
    if vulnerabilities is None:
        not_done.append("known vulnerabilities: there is no --osv")
    else:
        answer = osv.ask(vulnerabilities, packages, now)
    return Vetted(tuple(packages), tuple(held), tuple(findings), answer, tuple(not_done), tuple(notes), attested)


def _decided(
    target: str, policy: str, choice: SignWith, directory: str | None, config: Config, now: datetime
) -> Decision:
    """The policy's decision. The evidence just made counts as signed by whom signed it, unless others are named."""
    from assay.api.anchors import TrustIn, public_path
    from assay.api.deciding import Deciding, decide

    own = public_path(choice.key) if choice.key else ""
    trust = TrustIn((own,)) if own and os.path.isfile(own) else TrustIn()
    return decide(target, policy, Deciding(trust=trust, directory=directory), config=config, now=now)


def _manifest(made: Vetted) -> bytes:
    """The wheelhouse's contents: without a time or a place, so that the same lock gives the same bytes."""
    document = {
        "wheelhouse": 1,
        "lock": LOCK,
        "packages": [
            {
                "name": wheel.name,
                "version": wheel.version,
                "file": wheel.filename,
                "size": wheel.size,
                "sha256": wheel.sha256,
                "native": list(wheel.native),
                "scripts": list(wheel.scripts),
                "startup": list(wheel.startup),
            }
            for wheel in sorted(made.wheels, key=lambda item: item.filename)
        ],
    }
    return json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"
