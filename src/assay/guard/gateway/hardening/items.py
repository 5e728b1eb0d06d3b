"""One prediction as model servers write it in JSON, made to say less: numbers, vectors, objects with scores.

What is recognised: whole numbers, texts and booleans are labels and stay; 0.0, 1.0 and what lies between are the
probability of the second of two classes; a list or object of numbers that add up to one is a distribution; ``score``
and the like beside ``label`` and the like. Anything else (logits, embeddings, other numbers) raises `Unhardened`.
Classes come in the order of their names, since one by probability would tell what their numbers no longer do.
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
_TELLING = re.compile(r"[\[{]|\.[0-9]|\b[01],[0-9]|[0-9]\s*%|[0-9]e-[0-9]", re.IGNORECASE)


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
        if 0.0 <= value <= 1.0:  # 0.0 and 1.0 too: labels come as whole numbers, and certainty must not be told
            return chance(value, how, seed)
        if value.is_integer():
            return value
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
    """``[{label, score}, …]``: what classifiers of text answer. The label stays first: many look no further."""
    scores = [value["score"] for value in values]
    if not _numbers(scores) or not is_distribution(scores):
        raise Unhardened("the scores of a ranking are no distribution")
    label = scores.index(max(scores))
    order = sorted(range(len(values)), key=lambda i: (i != label, str(values[i]["label"])))
    hardened = harden([scores[i] for i in order], how, seed)
    first, *others = [
        {"label": harden_item(values[i]["label"], how, None), "score": score}
        for i, score in zip(order, hardened, strict=True)
        if score or i == label or not (how.label_only or how.top)
    ]
    return [first, *sorted(others, key=lambda one: -one["score"])]


def _object(value: dict[str, Any], how: How, seed: bytes | None) -> dict[str, Any]:
    if not value.keys() & (LABELS | SCORES) and len(value) > 1 and _numbers(tuple(value.values())):
        if not is_distribution(tuple(value.values())):
            raise Unhardened("the numbers of an object are no distribution")
        names = sorted(value)
        hardened = harden([value[name] for name in names], how, seed)
        return {harden_text(name): score for name, score in zip(names, hardened, strict=True)}
    if value.keys() - LABELS - SCORES:
        raise Unhardened("a prediction has a field that is not known")
    value = _by_class(value)
    result: dict[str, Any] = {}
    for name, one in value.items():
        if name in SCORES:
            result[name] = _score(value, one, how, seed)
        elif type(one) is list:
            result[name] = [_label(label) for label in one]
        else:
            result[name] = _label(one)
    return result


def _by_class(value: dict[str, Any]) -> dict[str, Any]:
    """Lists of classes and of their scores, in the order of the classes."""
    lists = {name: one for name, one in value.items() if type(one) is list and len(one) > 1}
    classes = next((one for name, one in lists.items() if name in LABELS), None)
    if classes is None:
        return value
    if any(len(one) != len(classes) for one in lists.values()):
        raise Unhardened("there are not as many classes as scores")
    if not value.keys() - lists.keys() and not lists.keys() & SCORES:
        raise Unhardened("several labels of one row are a ranking")
    order = sorted(range(len(classes)), key=lambda i: str(classes[i]))
    return value | {name: [one[i] for i in order] for name, one in lists.items()}


def _label(value: Any) -> Any:
    if type(value) is float and not value.is_integer():
        raise Unhardened("a label is a fraction")
    if type(value) is list or type(value) is dict:
        raise Unhardened("a prediction has a form that is not known")
    return harden_item(value, _NOTHING, None)


def _score(whole: dict[str, Any], value: Any, how: How, seed: bytes | None) -> Any:
    if type(value) is list and len(value) > 1:
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
