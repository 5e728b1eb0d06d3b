"""What a step usually does, learned from its runs, and what is unusual about one of them.

A trace becomes normalised facts, facts become a profile that people can read and sign, and a later run is held
against it. Nothing here signs, stores, enforces or looks at the contents of data: a new shard is the data set's
digest's affair.
"""
