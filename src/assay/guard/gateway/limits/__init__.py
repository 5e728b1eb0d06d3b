"""Counting what callers use: in one process, between the processes of a machine, between machines; and usage plans."""
