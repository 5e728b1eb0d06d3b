"""What is checked again and again: drift, model quality, alarms, and what they set off.

Everything here works on profiles and numbers, never on the baseline's rows. It decides nothing about evidence: its
reports become evidence, and a policy says what they mean.
"""
