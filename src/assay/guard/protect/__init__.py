"""Protection of a running Python process: what it loads is judged, what it imports is attested.

It stops data and files from becoming code without evidence. It cannot stop code that already runs, which can undo
all of this; `docs/load.md` says what that means.
"""
