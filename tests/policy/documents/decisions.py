"""Decisions to write: one with every verdict in it, ones for each answer, and random ones full of hostile text."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import strategies as st

from assay.policy.verdict import (
    Decision,
    Kind,
    Level,
    Need,
    PolicyReference,
    RuleResult,
    Used,
    Verdict,
    Violation,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
CYCLONEDX = "https://cyclonedx.org/bom"
SCAN = "https://assay.dev/scan/v0.1"
PROVENANCE = "https://slsa.dev/provenance/v1"

POLICY = PolicyReference("ml-baseline", "The baseline", "1.0", "builtin:ml-baseline", "ab" * 32)


def used(mark: str = "c1", kind: str = CYCLONEDX, signers: tuple[str, ...] = ("ci@example.com",)) -> Used:
    """A piece of evidence."""
    return Used(mark * 32, kind, "bert", signers, "store entry 4", "12" * 32)


def rule(id: str, verdict: Verdict, **changes: object) -> RuleResult:
    """A rule's result, of level error unless said."""
    blank = RuleResult("contents", id, "", Level.ERROR, verdict, f"{id} is {verdict}", file="p.yml", line=7)
    return replace(blank, **changes)  # type: ignore[arg-type]


def decision(*results: RuleResult, **changes: object) -> Decision:
    """A decision about a folder."""
    blank = Decision("dir:bert", "bert", "12" * 32, POLICY, results, NOW)
    return replace(blank, **changes)  # type: ignore[arg-type]


LICENCES = tuple(
    Violation(
        f"licence 'GPL-3.0-only' of 'readline{i}' is not on the allow list",
        f"components[{i}].licenses",
        {"package": f"readline{i}", "licence": "GPL-3.0-only"},
    )
    for i in range(42)
)

EVERY = decision(
    rule(
        "model-signed",
        Verdict.PASS,
        control="identity",
        name="The model is signed",
        reason="model-signature in store entry 3",
        used=(used("c2", "https://model_signing/signature/v1.0"),),
        frameworks={"atlas": ("AML.M0013", "AML.M0014")},
    ),
    rule(
        "built",
        Verdict.PASS,
        control="identity",
        name="It was built by our platform",
        reason="slsaprovenance in store entry 5",
        used=(used("c3", PROVENANCE),),
        frameworks={"slsa": ("SLSA_BUILD_LEVEL_2",)},
        notes=("store entry 9 is newer and does not hold: builder is another one",),
    ),
    rule(
        "licence",
        Verdict.FAIL,
        name="Every licence is one that may be used",
        reason=f"cyclonedx in store entry 4 does not hold: {LICENCES[0].message}",
        violations=LICENCES,
        used=(used(),),
        needs=(
            Need(Kind.CORRECT, "a cyclonedx statement that holds", (CYCLONEDX,), ("ci",), "assay bom TARGET -o attest"),
        ),
        risk="A licence may demand that changes are published.",
        mitigation="Replace the package, or ask the legal department.",
        frameworks={"atlas": ("AML.T0010", "AML.T0010.001"), "airmf": ("GOVERN 6.1",)},
        labels=("legal",),
        uses="sbom/licences@v1",
    ),
    rule(
        "scanned",
        Verdict.MISSING,
        name="The model was scanned",
        reason="there is no scan statement about it",
        needs=(
            Need(
                Kind.ATTEST,
                "a scan statement about the target, signed by ci",
                (SCAN,),
                ("ci",),
                "assay attest TARGET --type scan --predicate REPORT.json",
            ),
        ),
        frameworks={"atlas": ("AML.T0011.000",)},
    ),
    rule(
        "evaluated",
        Verdict.UNTRUSTED,
        reason="evaluation in store entry 6 is not signed by ci",
        used=(used("c4", "https://assay.dev/evaluation/v0.1", ()),),
        needs=(Need(Kind.SIGN, "the evaluation statement about the target, signed by ci", signers=("ci",)),),
    ),
    rule(
        "fresh",
        Verdict.STALE,
        reason="monitoring in store entry 7 is 9 days old, 1 day is allowed",
        used=(used("c5", "https://assay.dev/monitoring/v0.1"),),
        needs=(Need(Kind.REFRESH, "a fresh monitoring statement about the target"),),
    ),
    rule(
        "custom",
        Verdict.ERROR,
        reason="rule.rego:3: unknown function 'foo'",
        needs=(Need(Kind.REPAIR, "a rule that can be evaluated"),),
    ),
    rule("documented", Verdict.WARN, level=Level.WARNING, reason="the card has no section on limits"),
    rule(
        "sized",
        Verdict.FAIL,
        level=Level.WARNING,
        reason="the image is 9 GB",
        violations=(Violation("9 GB is more than 5 GB"),),
    ),
    rule("told", Verdict.MISSING, level=Level.NOTE, reason="there is no release statement about it"),
    rule("deployed", Verdict.NOT_APPLICABLE, reason="for the gate deploy, not build"),
    gate="build",
    labels={"team": "nlp"},
    kind="model",
    evidence="the store .assay/evidence",
    warnings=("nobody says that the evidence is complete",),
)

ACCEPTED = decision(*EVERY.results[:2], rule("documented", Verdict.WARN, reason="the card has no section on limits"))
UNDECIDED = decision(EVERY.results[0], EVERY.results[3])
EMPTY = decision()
ANSWERS = {"accepted": ACCEPTED, "rejected": EVERY, "undecided": UNDECIDED}

HOSTILE = [
    "",
    " ",
    "\x1b[2J\x1b]0;owned\x07",
    "a\nb\r\nc\tx",
    "\u202egnp.exe\u2066",
    "\u200b\ufeff",
    "\ud800 lone",
    "`` ``` `",
    "| a | b |\n|---|---|",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "</details><details open>",
    "<!-- --> &lt;b&gt; &#64;everyone",
    "@everyone and @octo-org/security, see #12, gh-34, octo/repo#5",
    "[click](https://evil.example) ![x](https://evil.example/x.png) <https://evil.example>",
    "https://evil.example www.evil.example mail@evil.example",
    "javascript:alert(1) [a]: https://evil.example",
    "deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
    "*b* _i_ ~~s~~ # h\n\n# heading\n- item\n1. one",
    "{0} {1} {{",
    "../../etc/passwd",
    "/home/somebody/secret/p.yml",
    "$(reboot); `reboot` && 'x",
    "模型/权重" * 30,
    "e\u0301" * 40,
    "x" * 5000,
    "👩‍🔬",
]

texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30), st.text(st.characters(), max_size=8))
ids = texts.map(lambda text: text or "-")
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
names = st.lists(texts, max_size=2).map(tuple)
violations = st.builds(Violation, texts, texts, st.dictionaries(texts, json_like, max_size=2))
useds = st.builds(Used, digests, ids, texts, names, texts, st.none() | digests)
needs = st.builds(
    Need, st.sampled_from(Kind), texts, names, names, st.none() | texts | st.just("assay bom TARGET"), texts
)
frameworks = st.dictionaries(
    st.sampled_from(["atlas", "airmf", "slsa"]) | ids,
    st.lists(st.sampled_from(["AML.T0010", "GOVERN 6.1", "SLSA_BUILD_LEVEL_2"]) | ids, max_size=3).map(tuple),
    max_size=2,
)


def _possible(result: RuleResult) -> RuleResult:
    return replace(result, needs=(), violations=()) if result.verdict is Verdict.PASS else result


results = st.builds(
    RuleResult,
    texts,
    ids,
    texts,
    st.sampled_from(Level),
    st.sampled_from(Verdict),
    texts,
    st.lists(violations, max_size=7).map(tuple),
    st.lists(useds, max_size=2).map(tuple),
    st.lists(needs, max_size=2).map(tuple),
    texts,
    texts,
    frameworks,
    names,
    st.none() | ids,
    texts,
    st.integers(-1, 10**6),
    names,
).map(_possible)

decisions = st.builds(
    Decision,
    texts | st.sampled_from(["dir:bert", "hf:a/b@c1", "git:https://u:p@h.example/x.git@c1", "git:git@h.example:x/y"]),
    texts,
    digests,
    st.builds(PolicyReference, ids, texts, texts, texts, digests, st.none() | texts),
    st.lists(results, max_size=5, unique_by=lambda result: result.rule).map(tuple),
    st.datetimes(datetime(1990, 1, 1), datetime(2990, 1, 1), timezones=st.just(UTC)),
    st.none() | texts,
    st.dictionaries(texts, texts, max_size=2),
    st.none() | texts,
    texts,
    names,
)
