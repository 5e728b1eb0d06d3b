"""Alarms over metrics, with the meaning that CloudWatch's have: what is a definition, what state follows, who is told.

It decides on states and says which actions are due; it performs none. Silence never counts as good unless a definition
says so.
"""
