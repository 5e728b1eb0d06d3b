"""The three states of an alarm, and what can be said beside them about its evaluation."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """What an alarm says."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
    """New, or there is too little to tell. Never the same as OK."""


class EvaluationState(StrEnum):
    """What was wrong with the evaluation itself; ``StateReason`` says more."""

    FINE = ""
    PARTIAL_DATA = "PARTIAL_DATA"
    """Some of the alarm's metrics had no values at all."""
    EVALUATION_ERROR = "EVALUATION_ERROR"
    """The definition does not fit what is in the store; somebody has to change it."""
