"""The walls around a step: what it may read, write, execute and reach, enforced by the kernel as far as it can here.

It must never call enforced what only the monitor, an environment variable or good manners hold: that is a gap, and
said.
"""
