"""What a request's rows must look like: on tables the best detector of all.

A schema is written by hand or inferred from the training data's profile. No message here ever repeats a caller's value.
"""
