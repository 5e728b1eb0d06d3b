"""When a monitor runs: expressions of time, which runs are due, and that each is taken up by one scheduler only.

Nothing here knows what a run does; it is handed in. A run that was missed is caught up or reported, never forgotten.
"""
