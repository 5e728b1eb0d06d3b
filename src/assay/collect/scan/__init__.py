"""Looking for what does harm: code in models, poison in data, later secrets and personal data.

A scanner states facts about bytes. It never loads what it scans, imports no framework, asks no network, and what it
could not look at is a finding or a skipped file, never "clean".
"""
