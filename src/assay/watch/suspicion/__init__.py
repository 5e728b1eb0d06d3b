"""Poisoning or drift? New data beside the attested training data: what moved, and who moved it.

Drift moves inputs, and labels stay what the reference teaches, whoever sends them. Poison hardly moves inputs: labels
contradict the reference, in few sources, in one place, in copies, or with one sign in common. What is found is a
suspicion, never a proof, and a person releases it.
"""
