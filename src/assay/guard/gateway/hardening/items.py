"""One prediction as model servers write it in JSON, made to say less: numbers, vectors, objects with scores.

What is recognised: whole numbers, texts and booleans are labels and stay; a fraction from 0 to 1 is the probability of
the second of two classes; a list or object of numbers that add up to one is a distribution; ``score`` and the like
beside ``label`` and the like. Anything else (logits, embeddings, other numbers) raises `Unhardened`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from assay.guard.gateway.hardening.vectors import How, chance, harden, is_distribution
from assay.guard.gateway.parts import Unhardened

LABELS = frozenset(
    {
        "label",
        "class",
        "class_id",
        "label_index",
        "predicted_label",
        "predicted_class",
        "prediction",
        "classes",
        "labels",
    }
)
"""Fields of an object that say which class it is, or which there are."""
SCORES = frozenset({"probabilities", "probability", "scores", "score", "confidence", "proba", "probs", "predict_proba"})
"""Fields that say how probable."""
_TELLING = re.compile(r"[\[{]|[0-9]\.[0-9]|[0-9]e-[0-9]")


def harden_items(items: Sequence[Any], how: How, seeds: Sequence[bytes] | None) -> list[Any]:
    """One prediction a row. Raises `Unhardened`."""
    if how.noise and not how.label_only and (seeds is None or len(seeds) != len(items)):
        raise Unhardened("the answer has not as many rows as the request")
    return [harden_item(value, how, seeds[i] if seeds else None) for i, value in enumerate(items)]


def harden_item(value: Any, how: How, seed: bytes | None) -> Any:
    """One prediction of one row. Raises `Unhardened`."""
    kind = type(value)
    if kind is int or kind is bool:
        return value
    if kind is str:
        return harden_text(value)
    if kind is float:
        if value.is_integer():
            return value
        if 0.0 < value < 1.0:
            return chance(value, how, seed)
        raise Unhardened("a number of the answer is no probability")
    if kind is list:
        return _list(value, how, seed)
    if kind is dict and value:
        return _object(value, how, seed)
    raise Unhardened("a prediction has a form that is not known")


def harden_text(value: str) -> str:
    """A label; a text that tells numbers is none."""
    if len(value) > 256 or _TELLING.search(value):
        raise Unhardened("a text of the answer is no plain label")
    return value


def _numbers(values: Sequence[Any]) -> bool:
    return all(type(value) is float or type(value) is int for value in values)


def _list(values: list[Any], how: How, seed: bytes | None) -> list[Any]:
    if len(values) == 1:
        return [harden_item(values[0], how, seed)]
    if values and _numbers(values):
        if is_distribution(values):
            return harden(values, how, seed)
        if all(type(value) is int for value in values) and len(values) <= 2:
            raise Unhardened("a pair of whole numbers may be scores")
        raise Unhardened("a list of the answer is no distribution")
    if values and all(type(value) is dict and value.keys() == {"label", "score"} for value in values):
        return _ranking(values, how, seed)
    raise Unhardened("a prediction has a form that is not known")


def _ranking(values: list[dict[str, Any]], how: How, seed: bytes | None) -> list[Any]:
    """``[{label, score}, …]``: what classifiers of text answer."""
    scores = [value["score"] for value in values]
    if not _numbers(scores) or not is_distribution(scores):
        raise Unhardened("the scores of a ranking are no distribution")
    hardened = harden(scores, how, seed)
    kept = [
        {"label": harden_item(value["label"], how, None), "score": score}
        for value, score in zip(values, hardened, strict=True)
        if score or not (how.label_only or how.top)
    ]
    if how.noise or how.label_only:
        kept.sort(key=lambda one: (-one["score"], str(one["label"])))  # the order would tell what the noise hides
    return kept


def _object(value: dict[str, Any], how: How, seed: bytes | None) -> dict[str, Any]:
    if not value.keys() & (LABELS | SCORES) and len(value) > 1 and _numbers(tuple(value.values())):
        if not is_distribution(tuple(value.values())):
            raise Unhardened("the numbers of an object are no distribution")
        hardened = harden(tuple(value.values()), how, seed)
        named = {harden_text(name): score for name, score in zip(value, hardened, strict=True)}
        return dict(sorted(named.items())) if how.noise or how.label_only else named
    if value.keys() - LABELS - SCORES:
        raise Unhardened("a prediction has a field that is not known")
    result: dict[str, Any] = {}
    for name, one in value.items():
        if name in SCORES:
            result[name] = _score(value, one, how, seed)
        elif type(one) is list:
            result[name] = [_label(label) for label in one]
        else:
            result[name] = _label(one)
    return result


def _label(value: Any) -> Any:
    if type(value) is float and not value.is_integer():
        raise Unhardened("a label is a fraction")
    if type(value) is list or type(value) is dict:
        raise Unhardened("a prediction has a form that is not known")
    return harden_item(value, _NOTHING, None)


def _score(whole: dict[str, Any], value: Any, how: How, seed: bytes | None) -> Any:
    if type(value) is list and len(value) > 1:
        if isinstance(whole.get("classes", whole.get("labels")), list) and (how.label_only or how.top):
            raise Unhardened("classes beside scores would tell their order")
        return _list(value, how, seed)
    if type(value) is list and value:
        return [_score(whole, value[0], how, seed)]
    if type(value) is dict:
        return _object(value, how, seed)
    if type(value) not in (float, int) or not 0 <= value <= 1:
        raise Unhardened("a score is no probability")
    if how.label_only and whole.keys() & LABELS and whole.get("predicted_label") not in (0, 1):
        return 1.0  # of the label that stands beside it
    return chance(float(value), how, seed)


class _Nothing:
    label_only = False
    top: int | None = None
    noise: float | None = None
    buckets: int | None = None
    digits: int | None = None


_NOTHING = _Nothing()
