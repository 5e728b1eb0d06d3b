"""What a window must look like to be like the baseline: constraints, suggested, edited by people, and checked.

A constraint that was not met for lack of data is undecided, never met; nothing here reads rows.
"""
