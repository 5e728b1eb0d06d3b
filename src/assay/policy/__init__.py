"""Policy over signed evidence: what must be true of a target, and the verdict whether it is.

A policy file becomes a `model.Policy`, the evidence about a target a `case.Case`; `evaluation` holds one against the
other and answers with a `verdict.Decision`. Nothing here reads a target or proves a signature of evidence: what was
proved arrives in the case, apart from what documents say. The network is asked for bundles, and by rules in Rego whose
policy names the hosts.
"""
