"""How many different people signed: one who signs twice, or under two names with one key, counts once."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from assay.evidence.trust.interface import Proof
from assay.policy.case import Item


def counting(item: Item, groups: Collection[str]) -> list[Proof]:
    """The proved signatures on ``item`` whose signer belongs to one of ``groups``."""
    return [proved.proof for proved in item.proofs if not proved.groups.isdisjoint(groups)]


def distinct(proofs: Iterable[Proof]) -> int:
    """The number of different signers: proofs that share a name or a key are of one, whoever vouches for the name."""
    clusters: list[set[str]] = []
    for proof in proofs:
        marks = {proof.signer.casefold(), *([proof.key_id] if proof.key_id else [])}
        touching = [cluster for cluster in clusters if not cluster.isdisjoint(marks)]
        clusters = [cluster for cluster in clusters if cluster.isdisjoint(marks)]
        clusters.append(marks.union(*touching))
    return len(clusters)


def same_content(one: Item, other: Item) -> bool:
    """Whether two pieces of evidence say the same of the same thing, so that their signers say it together."""
    first, second = one.statement, other.statement
    return (
        first.predicate_type == second.predicate_type
        and [subject.digest for subject in first.subjects] == [subject.digest for subject in second.subjects]
        and first.predicate == second.predicate
    )


def signers(item: Item) -> tuple[str, ...]:
    """Everybody who was proved to have signed, in words."""
    return tuple(dict.fromkeys(str(proved.proof) for proved in item.proofs))
