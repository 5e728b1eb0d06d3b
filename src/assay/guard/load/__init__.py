"""Verified load: what was judged is what is loaded, by an unpickler that resolves only what is allowed.

Nothing here signs, stores or decides; whoever calls hands in the judge. No file is read twice by its name.
"""
