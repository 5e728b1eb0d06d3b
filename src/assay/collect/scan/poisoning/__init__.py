"""Poisoned data: labels that were changed, triggers that were planted, a contribution that does not fit the rest.

It states what is odd about rows and why, with counts; it never changes a data set, runs nothing that lies in it, and
an odd row is a reason to look, not a proof: honest data has label errors and outliers too.
"""

from assay.collect.scan.poisoning.interface import PoisoningResult, Settings
from assay.collect.scan.poisoning.run import scan_dataset

__all__ = ["PoisoningResult", "Settings", "scan_dataset"]
