"""A lineage as text, JSON, OpenLineage, PROV, and as pictures. Names are anybody's: each form escapes its own way.

OpenLineage and PROV have no word for "claimed by a stranger", so they carry the proved edges alone.
"""
