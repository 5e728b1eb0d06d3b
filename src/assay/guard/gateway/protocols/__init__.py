"""What a request means: serving protocols with the paths that are served, and what a body asks for.

Any path that a protocol does not list is denied. Limits count what is measured here, so a body that two readers could
read in two ways is refused, never repaired.
"""
