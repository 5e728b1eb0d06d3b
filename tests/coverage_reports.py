"""Coverage reports for tests of their formats: a small one, one of the real ATLAS's shape, and random ones."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

from hypothesis import strategies as st

from assay.policy.coverage.interface import (
    MAX_LINKS,
    Characteristic,
    Link,
    Measure,
    Report,
    Row,
    Section,
    State,
)

TIME = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
ASSESSABLE = (State.EVIDENCE, State.CONFIGURATION, State.NOTHING)


def link(number: int = 1, **changes: object) -> Link:
    made = Link(
        digest=hashlib.sha256(f"attestation {number}".encode()).hexdigest(),
        predicate_type="https://model_signing/signature/v1.0",
        subject=("bert-tiny", "fraud-scorer", "imdb-reviews", "churn-features", "vision-encoder")[number % 5],
        signers=(("ci@example.com (https://accounts.example.com)",), ("key b206e3b64d883b7d",))[number % 2],
        claim=("Every file of the model is signed", "The scanner found no unsafe code")[number % 2],
        time=TIME - timedelta(hours=number % 700),
        entry=number,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


MEASURES = (
    Measure("Signed model (OpenSSF Model Signing)", State.EVIDENCE, False, "assay sign MODEL"),
    Measure("Scan for unsafe code in model files", State.EVIDENCE, False, "assay scan model MODEL --attest"),
    Measure("Attested training data", State.EVIDENCE, False, "assay attest DATA --type dataset"),
    Measure(
        "Models load only after they are verified", State.CONFIGURATION, False, "guard.load: enforce in assay.yaml"
    ),
    Measure("Predictions pass the gateway", State.CONFIGURATION, False, "gateway.enabled in assay.yaml"),
    Measure("Bill of materials", State.EVIDENCE, False, "assay bom MODEL --attest"),
    Measure("Drift report younger than a day", State.EVIDENCE, False, "assay watch drift MODEL"),
)


def row(identifier: str = "AML.T0010", state: State = State.EVIDENCE, **changes: object) -> Row:
    made = Row(identifier, "AI Supply Chain Compromise", state, "Signed by the expected signers.")
    return replace(made, **changes)  # type: ignore[arg-type]


def report(*rows: Row, framework: str = "atlas", **changes: object) -> Report:
    made = Report(
        framework=framework,
        name="MITRE ATLAS" if framework == "atlas" else "NIST AI RMF",
        version="5.6.0" if framework == "atlas" else "1.0",
        source="mitre-atlas/atlas-data",
        licence="Apache-2.0",
        time=TIME,
        store="evidence",
        head="412:" + "ab" * 32,
        statements=412,
        trusted=398,
        targets=("bert-tiny", "fraud-scorer"),
        sections=(Section("techniques", "Techniques", rows),) if rows else (),
        columns=(("AML.TA0004", "Initial Access"), ("AML.TA0011", "Impact")) if framework == "atlas" else (),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def _filled(rng: random.Random, made: Row, links: int) -> Row:
    """The row with a state, measures and attestations that fit each other."""
    if made.state is State.NOT_ASSESSABLE:
        return made
    measures = tuple(rng.sample(MEASURES, 3))
    if made.state is State.NOTHING:
        return replace(made, measures=measures, why=f"Nothing yet. {measures[0].title} would back it.")
    met = tuple(replace(one, met=one.kind is made.state) for one in measures)
    if not any(one.met for one in met):
        met = (replace(met[0], met=True, kind=made.state), *met[1:])
    why = f"{next(one.title for one in met if one.met)}: for every model in the store."
    proofs = tuple(link(rng.randrange(400)) for _ in range(links)) if made.state is State.EVIDENCE else ()
    return replace(made, measures=met, why=why, links=proofs, more_links=3 if len(proofs) == MAX_LINKS else 0)


SUBS = (".000", ".001", ".002", ".003", ".004")


@cache
def atlas_sized(links: int = 3) -> Report:
    """16 tactics, 101 techniques with 69 sub-techniques, 35 mitigations; names and states by a fixed lot."""
    rng = random.Random(3)
    words = (
        "Poison",
        "Evade",
        "Publish",
        "Model",
        "Data",
        "Supply",
        "Prompt",
        "Discover",
        "Exfiltrate",
        "Agent",
        "Tool",
    )
    columns = tuple((f"AML.TA{n:04}", name) for n, name in enumerate(TACTICS))
    lots = [*ASSESSABLE, State.NOT_ASSESSABLE, State.NOTHING]
    techniques: list[Row] = []
    for n in range(101):
        identifier = f"AML.T{n:04}"
        tactics = tuple(columns[at][0] for at in sorted(rng.sample(range(16), rng.choice((1, 1, 1, 2, 3)))))
        parent = Row(
            identifier,
            " ".join(rng.sample(words, 3)),
            rng.choice(lots),
            "A matter of people: no tool sees what an adversary reads about the organisation.",
            text="Adversaries may do this in order to reach the model, its data, or the people who run it. " * 2,
            url=f"https://atlas.mitre.org/techniques/{identifier}",
            related=tuple(f"AML.M{at:04}" for at in sorted(rng.sample(range(35), 3))),
            columns=tactics,
            highlighted=n in (10, 15, 18, 19, 20, 48, 50),
            aliases=("ML Supply Chain Compromise",) if n == 10 else (),
        )
        techniques.append(_filled(rng, parent, links))
        for at in range(5 if n % 8 == 0 else 1 if n % 11 == 1 else 0):
            sub = replace(
                parent,
                id=identifier + SUBS[at],
                name=" ".join(rng.sample(words, 2)),
                state=rng.choice(lots),
                columns=(),
                parent=identifier,
                highlighted=False,
                aliases=(),
            )
            techniques.append(_filled(rng, sub, links))
    mitigations = [
        _filled(
            rng,
            Row(
                f"AML.M{n:04}",
                " ".join(rng.sample(words, 3)),
                rng.choice(lots),
                "A matter of organisation: staff must be trained.",
                text="Do this to make the technique harder.",
                url=f"https://atlas.mitre.org/mitigations/AML.M{n:04}",
                related=tuple(f"AML.T{at:04}" for at in rng.sample(range(101), 5)),
                highlighted=n in (5, 7, 11, 13, 14, 16),
            ),
            links,
        )
        for n in range(35)
    ]
    return report(
        columns=columns,
        sections=(
            Section("techniques", "Techniques", tuple(techniques), "What adversaries do."),
            Section("mitigations", "Mitigations", tuple(mitigations), "What stops them."),
        ),
        warnings=("Two attestations of the store are not signed by anybody who is expected.",),
    )


TACTICS = (
    "Reconnaissance",
    "Resource Development",
    "Initial Access",
    "AI Model Access",
    "Execution",
    "Persistence",
    "Privilege Escalation",
    "Defense Evasion",
    "Credential Access",
    "Discovery",
    "Lateral Movement",
    "Collection",
    "AI Attack Staging",
    "Command and Control",
    "Exfiltration",
    "Impact",
)

CHARACTERISTICS = (
    "Valid and Reliable",
    "Safe",
    "Secure and Resilient",
    "Accountable and Transparent",
    "Explainable and Interpretable",
    "Privacy-Enhanced",
    "Fair, with Harmful Bias Managed",
)


@cache
def airmf_sized() -> Report:
    """72 subcategories in 4 functions, and the seven characteristics."""
    rng = random.Random(4)
    lots = [State.EVIDENCE, State.CONFIGURATION, State.NOTHING, State.NOT_ASSESSABLE, State.NOT_ASSESSABLE]
    sections = tuple(
        Section(
            function,
            function.title(),
            tuple(
                _filled(
                    rng,
                    Row(
                        f"{function} {1 + n // 5}.{1 + n % 5}",
                        "Mechanisms are in place to inventory AI systems and are resourced by risk priorities.",
                        rng.choice(lots),
                        "A matter of governance: people decide it.",
                    ),
                    2,
                )
                for n in range(count)
            ),
            "A culture of risk management is cultivated and present.",
        )
        for function, count in (("GOVERN", 19), ("MAP", 18), ("MEASURE", 22), ("MANAGE", 13))
    )
    characteristics = tuple(
        Characteristic(
            name.split()[0].lower(),
            name,
            list(State)[n % 4],
            "Most of its rows have this at least.",
            tuple(rng.choice(sections[n % 4].rows).id for _ in range(4)),
        )
        for n, name in enumerate(CHARACTERISTICS)
    )
    return report(framework="airmf", sections=sections, characteristics=characteristics, source="NIST AI 100-1")


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><script>alert(1)</script>",
    "' onmouseover='alert(1)",
    "\u202egnp.exe\u2066 x\u2069",
    "javascript:alert(1)",
    "https://example.com/\"onclick='alert(1)'",
    "nul\0 tab\t line\nreturn\r bell\a lone \udcff zero\u200bwidth",
    "<!-- --><![CDATA[ ]]>&amp;&#60;",
    "${alert(1)}{{7*7}}",
    "`<script>alert(1)</script>`",
    "assay <script>alert(1)</script>, <b>",
    "",
    " ",
)

_texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=8))
_times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.sampled_from([UTC, None]))
_links = st.builds(
    Link,
    digest=st.one_of(_texts, st.binary(min_size=32, max_size=32).map(bytes.hex)),
    predicate_type=_texts,
    subject=_texts,
    signers=st.lists(_texts, max_size=2).map(tuple),
    claim=_texts,
    time=st.none() | _times,
    entry=st.integers(0, 10**9),
)
_measures = st.builds(
    Measure,
    title=_texts,
    kind=st.sampled_from([State.EVIDENCE, State.CONFIGURATION]),
    met=st.booleans(),
    how=_texts,
    note=_texts,
)
_ids = st.one_of(st.sampled_from(["AML.T0000", "AML.T0000.001", "AML.M0001", "MAP 4.1", "MAP-4.1", "2.1"]), _texts)
_few = st.lists(_ids, max_size=3).map(tuple)
_rows = st.builds(
    Row,
    id=_ids,
    name=_texts,
    state=st.sampled_from(State),
    why=_texts,
    text=_texts,
    url=_texts,
    aliases=st.lists(_texts, max_size=2).map(tuple),
    measures=st.lists(_measures, max_size=2).map(tuple),
    links=st.lists(_links, max_size=2).map(tuple),
    more_links=st.integers(0, 10**6),
    related=_few,
    columns=st.lists(st.sampled_from(["c1", "c2", "c3"]), max_size=3).map(tuple),
    parent=st.none() | _ids,
    highlighted=st.booleans(),
)
random_reports = st.builds(
    Report,
    framework=st.sampled_from(["atlas", "airmf", "slsa"]),
    name=_texts,
    version=_texts,
    source=_texts,
    licence=_texts,
    time=_times,
    store=_texts,
    head=_texts,
    statements=st.integers(0, 10**6),
    trusted=st.integers(0, 10**6),
    targets=st.lists(_texts, max_size=3).map(tuple),
    sections=st.lists(
        st.builds(Section, id=_texts, name=_texts, rows=st.lists(_rows, max_size=4).map(tuple), text=_texts), max_size=3
    ).map(tuple),
    columns=st.sampled_from([(), (("c1", "Initial Access"), ("c2", "<b>Impact</b>"))]),
    characteristics=st.lists(
        st.builds(Characteristic, id=_texts, name=_texts, state=st.sampled_from(State), why=_texts, rows=_few),
        max_size=2,
    ).map(tuple),
    warnings=st.lists(_texts, max_size=2).map(tuple),
)
"""Everything that a report can hold, honest or hostile."""
