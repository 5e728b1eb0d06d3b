"""A Rego rule over the evidence that its selector found: one piece that it allows is enough.

The document reaches the rule as `input.evidence`, what the verifier proved as `input.verified`; neither can be written
by the other. Whatever is not exactly "allow" is not allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from assay.policy.case import Case, Item
from assay.policy.evaluation.standing import Standing, made
from assay.policy.model import Rego, Rule
from assay.policy.reading import wrapped
from assay.policy.rego import contract, huggingface
from assay.policy.rego.interface import Engine, Limits, Query
from assay.policy.verdict import Kind, Verdict

FIRST = 4
"""Pieces of evidence in the first batch; later ones are larger, as long as none is allowed."""


def ask(rule: Rule, rego: Rego, satisfying: Sequence[Standing], case: Case, engine: Engine) -> list[Standing]:
    """What the rule says of each piece, newest first, up to the first that it allows."""
    told: list[Standing] = []
    at, size = 0, FIRST
    asks_hub = any("http.send" in text for text in rego.modules.values())
    while at < len(satisfying) and not (told and told[-1].verdict is Verdict.PASS):
        batch = satisfying[at : at + (1 if asks_hub else size)]
        inputs = [rego_input(standing.item, rule.arguments, case, rego) for standing in batch]
        query = _query(rego, batch[0].item, rule.arguments if asks_hub else None)
        answers = engine.evaluate(query, inputs, now=case.now, limits=Limits())
        for standing, answer in zip(batch, answers, strict=True):
            told.append(_standing(standing.item, contract.read_result(answer)))
            if told[-1].verdict is Verdict.PASS:
                break
        at, size = at + len(batch), size * 4
    return told


def without_evidence(rule: Rule, rego: Rego, case: Case, engine: Engine) -> tuple[Verdict, str]:
    """What a rule says that asks for no evidence."""
    inputs = [rego_input(None, rule.arguments, case, rego)]
    result = contract.read_result(engine.evaluate(_query(rego, None, None), inputs, now=case.now, limits=Limits())[0])
    return _verdict(result), result.error or result.reason


def rego_input(item: Item | None, arguments: Mapping[str, Any], case: Case, rego: Rego) -> dict[str, Any]:
    """The input document of the published contract, with what was proved beside it."""
    verified = proved(item, case.now)
    made_of: dict[str, Any] = wrapped.rego_input(
        item.statement if item is not None else None,
        arguments,
        verified,
        wrapped=rego.wrapped,
        original=item.wrapped if item is not None else None,
    )
    made_of["target"] = {"name": case.name, "sha256": case.sha256, "gate": case.gate, "labels": dict(case.labels)}
    return made_of


def proved(item: Item | None, now: datetime) -> dict[str, Any]:
    """`input.verified`: from the verifier alone."""
    if item is None:
        return {"signed": False, "signers": [], "groups": [], "time": None}
    time = made(item, proved=True)
    return {
        "signed": bool(item.proofs),
        "signers": [
            {
                "method": entry.proof.method,
                "signer": entry.proof.signer,
                "issuer": entry.proof.issuer,
                "groups": sorted(entry.groups),
            }
            for entry in item.proofs
        ],
        "groups": sorted(frozenset().union(*(entry.groups for entry in item.proofs))),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ") if time is not None else None,
    }


def _query(rego: Rego, item: Item | None, arguments: Mapping[str, Any] | None) -> Query:
    answers: Mapping[str, Any] = {}
    if item is not None and arguments is not None:
        answers = huggingface.answers(item.statement, arguments)
    return Query(rego.modules, version=rego.version, network=rego.network, answers=answers)


def _standing(item: Item, result: contract.RegoResult) -> Standing:
    verdict = _verdict(result)
    kind = {Verdict.PASS: None, Verdict.FAIL: Kind.CORRECT}.get(verdict, Kind.REPAIR)
    reason = "" if verdict is Verdict.PASS else result.error or result.reason or "the rule does not allow it"
    return Standing(item, verdict, reason, kind, result.violations)


def _verdict(result: contract.RegoResult) -> Verdict:
    if result.error is not None:
        return Verdict.ERROR
    return Verdict.PASS if result.allow is True else Verdict.FAIL
