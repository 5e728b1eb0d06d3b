"""Lineage: what was made from what, proved by the digests in signed statements.

A step is an edge only as far as somebody expected signed it and a strong digest names both ends. Everything else
(names, strangers' statements, weak digests) is shown beside it, never followed and never counted.
"""
