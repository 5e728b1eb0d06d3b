"""Policy bundles: folders, commits, artifacts and single files that policies come in, read once and then verified.

Nothing here reads a policy's contents; it decides which bytes are the policy, and whether somebody expected signed
exactly those. Bytes that were verified are never read again.
"""

from __future__ import annotations

from assay.policy.bundles.builtin import BUILTIN, builtin, catalogue
from assay.policy.bundles.contents import resolve_rule, resolver
from assay.policy.bundles.reading import Bundle, read
from assay.policy.bundles.reference import BundleReference, parse
from assay.policy.bundles.signatures import Demand

__all__ = [
    "BUILTIN",
    "Bundle",
    "BundleReference",
    "Demand",
    "builtin",
    "catalogue",
    "parse",
    "read",
    "resolve_rule",
    "resolver",
]
