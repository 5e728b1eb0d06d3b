"""Python packages before they are installed: resolved, locked by hash, vetted, fetched as wheels.

Resolving and downloading is left to the user's own pip or uv; this room judges what they choose. It installs, builds
and imports nothing, signs nothing, and an index's address or password never leaves it.
"""
