"""Enforcement points: what the verdict rejects is stopped here, where it would take effect.

A guard asks for a judgement and acts on it; it never forms one itself, and what cannot be judged does not pass.
"""
