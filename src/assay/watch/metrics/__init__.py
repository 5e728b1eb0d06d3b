"""Numbers over time: kept in a database, summarised as CloudWatch does, and handed on to other systems.

It knows metrics only, not what they measure or who is alarmed by them. A metric that was accepted is never lost: not by
a crash, not by a sink that fails.
"""
