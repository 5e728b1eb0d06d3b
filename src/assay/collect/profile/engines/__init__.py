"""Profiles on clusters: the same two functions, `partial` and `merge`, run where the data lie.

What comes out is byte for byte what one machine computes from the same rows with the same spec.
"""
