"""Holding a policy against a case. `evaluate` is the whole sentence; the other files are its words."""

from assay.policy.evaluation.evaluate import applies, evaluate

__all__ = ["applies", "evaluate"]
