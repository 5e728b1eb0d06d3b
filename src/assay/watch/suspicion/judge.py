"""From signals to the pattern that the new data resemble, in the words of the table of patterns.

========== =========== ============== =================================
inputs     labels      where          it looks like
========== =========== ============== =================================
moved      as taught   everywhere     covariate shift
still      contradict  everywhere     label flips, or a new meaning
still      contradict  a place, few   targeted flips
any        any         copies         feedback that somebody feeds
any        contradict  one sign       a backdoor
========== =========== ============== =================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assay.watch.suspicion.interface import Pattern, Signal

_TEXT = {
    Pattern.CLEAN: "the new data look like the reference",
    Pattern.COVARIATE_SHIFT: "inputs moved and labels are what the reference teaches: the world changed",
    Pattern.LABEL_FLIPS: "labels contradict the reference everywhere alike: they were flipped, or mean something new",
    Pattern.TARGETED_FLIPS: "labels contradict the reference in one place or from few sources",
    Pattern.FEEDBACK: "nearly the same rows come again and again: they look fed in on purpose",
    Pattern.BACKDOOR: "rows with one sign in common have one label, against all else that is in them",
    Pattern.UNDECIDED: "too little is known to tell poisoning from drift",
}


def judge(signals: Mapping[str, Signal]) -> tuple[Pattern, str]:
    """The pattern, and what speaks for it in a sentence.

    Without the signal ``labels`` nothing is called clean: poison in labels hardly moves inputs.
    """
    fires = {name for name, signal in signals.items() if signal.fires}
    contradicted = {"labels", "neighbours"} <= fires
    if fires & {"trigger", "sign"}:
        pattern = Pattern.BACKDOOR
    elif "copies" in fires and fires & {"labels", "neighbours", "sources", "place"}:
        pattern = Pattern.FEEDBACK
    elif fires & {"place", "sources"}:
        pattern = Pattern.TARGETED_FLIPS
    elif contradicted:
        pattern = Pattern.LABEL_FLIPS
    elif "drift" in fires:
        pattern = Pattern.COVARIATE_SHIFT
    else:
        pattern = Pattern.CLEAN
    if not pattern.suspect and "labels" not in signals:
        return Pattern.UNDECIDED, "labels were not looked at, and poison in them would not have been seen"
    return pattern, "; ".join([_TEXT[pattern], *(signals[name].text for name in _said(pattern, fires))])


def _said(pattern: Pattern, fires: set[str]) -> list[str]:
    order = ["trigger", "sign", "copies", "labels", "place", "sources", "label-rate", "drift"]
    return [name for name in order if name in fires and (pattern.suspect or name == "drift")]


def onset(history: Sequence[float], now: float) -> str | None:
    """``abrupt`` or ``gradual``: how the rate of contradictions came to be what it is; None with fewer than 4 windows.

    A jump of the last step that is more than half of all that the rate has risen is abrupt.
    """
    if len(history) < 4:
        return None
    start = sorted(history[: max(2, len(history) // 2)])[max(2, len(history) // 2) // 2]
    risen = now - start
    if risen <= 0:
        return None
    return "abrupt" if now - history[-1] > risen / 2 else "gradual"
