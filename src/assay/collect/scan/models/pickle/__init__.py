"""Pickles: what the program in one would do, found out by running it in the machine that loaders use.

Nothing that a pickle names is ever imported, resolved or called here.
"""
