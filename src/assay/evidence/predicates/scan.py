"""A scan of the subject's files: of models for code that would run, of anything for secrets, personal data, weaknesses.

Every file of the subject is listed, with what it is and what was found in it. What was skipped is listed too: a scan
must never look clean because something was left out.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from msgspec import Meta, field

from assay.evidence.predicates.common import DigestSet, Predicate, Text, Time, check_digests

PREDICATE_TYPE = "https://assay.dev/scan/v0.1"

Tier = Literal["none", "safe", "unknown", "code", "unreadable", "malicious"]
"""What a file is: nothing that this scan judges; only what is allowed; something that nobody listed; code by value;
not readable to its end; an attack.
"""

Answer = Literal["none", "safe", "findings", "unknown", "code", "unreadable", "malicious"]
"""A `Tier`, or ``findings``: no file's tier is bad, and something was found."""

ORDER: tuple[Answer, ...] = ("none", "safe", "findings", "unknown", "code", "unreadable", "malicious")
"""Best first."""

Severity = Literal["critical", "high", "medium", "low", "info"]
"""How bad a finding is; ``info`` is no reason against the file."""

Count = Annotated[int, Meta(ge=0)]
"""A number of things."""


class Scanner(Predicate, frozen=True, kw_only=True):
    """Who scanned, and by which rules."""

    uri: Text
    """Identifies the scanner."""
    version: Text
    """The scanner's."""
    rules: DigestSet | None = None
    """Digests of the rules."""
    allow_list: DigestSet | None = None
    """Digests of the list of what is safe."""

    def check(self) -> None:
        """Digests have their form."""
        for name, digests in (("rules", self.rules), ("allowList", self.allow_list)):
            if digests is not None:
                check_digests(digests, name)


class Location(Predicate, frozen=True, kw_only=True):
    """Where in a file."""

    file: str | None = None
    """Path inside the target, where it is not the listed file's own."""
    member: str | None = None
    """Path inside an archive; nested ones divided by ``!/``."""
    offset: Count | None = None
    """Byte offset in the file or member."""


class Finding(Predicate, frozen=True, kw_only=True):
    """One thing that was found."""

    rule: Text
    """Id of the rule that fired."""
    severity: Severity
    """How bad."""
    message: Text
    """What was found and why it matters; never a secret itself."""
    location: Location | None = None
    """Where."""
    call: str | None = None
    """The call that loading would make: ``os.system("…")``."""
    atlas: list[Text] = field(default_factory=list)
    """Ids of MITRE ATLAS techniques."""
    mitigation: str | None = None
    """What to do about it."""


class File(Predicate, frozen=True, kw_only=True):
    """One file of the target."""

    path: Text
    """Relative to the target, with ``/``."""
    tier: Tier
    """What it is."""
    format: str | None = None
    """Recognised by its content: ``pickle``, ``safetensors``, …"""
    digest: DigestSet | None = None
    """Its digests; absent only for a file that could not be read."""
    findings: list[Finding] = field(default_factory=list)
    """What was found in it."""

    def check(self) -> None:
        """A file that was judged has a digest: a judgement of unknown bytes says nothing."""
        if self.digest is not None:
            check_digests(self.digest, "digest")
        elif self.tier != "unreadable":
            raise ValueError(f"a file of tier {self.tier} needs a digest")


class Skipped(Predicate, frozen=True, kw_only=True):
    """A file that was not scanned."""

    path: Text
    """Relative to the target, with ``/``."""
    reason: Text
    """Why not."""


class EarlierVersion(Predicate, frozen=True, kw_only=True):
    """A version of the data set that the rows were compared with."""

    name: Text
    """What it is called."""
    digest: DigestSet
    """Of its contents."""
    rows: Count
    """Its rows."""

    def check(self) -> None:
        """The digest has its form."""
        check_digests(self.digest, "digest")


class Poisoning(Predicate, frozen=True, kw_only=True):
    """What a scan for poisoning looked at and counted. Rows themselves are never in it."""

    method: Count
    """Number of the method: two scans with the same one and the same settings are comparable."""
    rows: Count
    """Rows of the data set."""
    analysed: Count
    """Rows that were analysed."""
    suspected: Count
    """Rows that somebody should look at."""
    reasons: dict[Text, Count] = field(default_factory=dict)
    """Kind of reason to rows that have it."""
    groups: dict[Text, Count] = field(default_factory=dict)
    """Kind of finding to rows that are in one."""
    label: str | None = None
    """Column that the labels were taken from; absent where none was."""
    source: str | None = None
    """Column that says who contributed a row."""
    columns: dict[str, Text] = field(default_factory=dict)
    """Column to what it was taken for; absent columns were left out for their number."""
    labels: dict[str, Count] = field(default_factory=dict)
    """Label to analysed rows."""
    sample: Count
    """Most rows that would have been analysed."""
    seed: int
    """Of every random step."""
    embeddings: DigestSet | None = None
    """Of the file with each row's embedding."""
    since: list[EarlierVersion] = field(default_factory=list)
    """Earlier versions, each of which was attested by somebody whom the scanning side trusts."""
    new: Count | None = None
    """Analysed rows that no earlier version has."""
    relabelled: Count | None = None
    """Analysed rows that earlier versions have with other labels only."""

    def check(self) -> None:
        """The counts fit together."""
        if not self.suspected <= self.analysed <= self.rows:
            raise ValueError("suspected, analysed and rows are not in this order")
        if self.embeddings is not None:
            check_digests(self.embeddings, "embeddings")
        if bool(self.since) != (self.new is not None) or bool(self.since) != (self.relabelled is not None):
            raise ValueError("new and relabelled are counts beside the versions in since")


class Scan(Predicate, frozen=True, kw_only=True):
    """The predicate."""

    scanner: Scanner
    """Who scanned."""
    kind: Literal["models", "secrets", "pii", "vulns", "poisoning"]
    """What for."""
    started: Time
    """When the scan started."""
    finished: Time
    """When it was complete."""
    verdict: Answer
    """The worst of what was found."""
    files: list[File]
    """Every file that was looked at."""
    tiers: dict[Tier, Count] = field(default_factory=dict)
    """How many files of each tier there are; absent tiers have none."""
    severities: dict[Severity, Count] = field(default_factory=dict)
    """How many findings of each severity there are; absent severities have none."""
    skipped: list[Skipped] = field(default_factory=list)
    """Files that were not scanned."""
    poisoning: Poisoning | None = None
    """For a scan of that kind: which rows it looked at, and how."""

    def check(self) -> None:
        """The verdict and the counts are no better than the files."""
        if self.finished < self.started:
            raise ValueError("finished is before started")
        if self.poisoning is not None and self.kind != "poisoning":
            raise ValueError(f"poisoning is there in a scan for {self.kind}")
        if not self.files and not self.skipped:
            raise ValueError("files is empty: a scan that looked at nothing shows nothing")
        paths = [item.path for item in self.files] + [item.path for item in self.skipped]
        if len(set(paths)) != len(paths):
            raise ValueError("a path is listed twice")
        if ORDER.index(self.verdict) < ORDER.index(worst := answer(self.files, self.skipped)):
            raise ValueError(f"verdict is {self.verdict} where the files say {worst}")
        found = Counter(finding.severity for item in self.files for finding in item.findings)
        for name, stated, counted in (
            ("tiers", self.tiers, Counter(item.tier for item in self.files)),
            ("severities", self.severities, found),
        ):
            if {key: number for key, number in stated.items() if number} != counted:
                raise ValueError(f"{name} is not what the files add up to")


def answer(files: list[File], skipped: list[Skipped]) -> Answer:
    """The verdict that files deserve: their worst tier, and never ``safe`` with findings or with skipped files."""
    reached: list[Answer] = [item.tier for item in files]
    if any(finding.severity != "info" for item in files for finding in item.findings):
        reached.append("findings")
    if skipped:
        reached.append("unknown")
    return max(reached, key=ORDER.index, default="none")
