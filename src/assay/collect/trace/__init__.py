"""Watching a step: which files, programs and hosts it asked for, recorded by a monitor outside, beyond its reach.

The room observes and starts; what is allowed is decided by whoever hands in an `Arbiter` (the sandbox, on the floor
above). It must never call seen what it did not see: each blind spot is a `Gap`.
"""
