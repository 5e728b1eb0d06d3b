"""What a watched step proves: which bytes went in and which came out, as evidence that other tools read too.

It turns a trace into materials, products and statements. It must never call a file a material with another digest than
that of the bytes that the step was given: what changed since is said.
"""
