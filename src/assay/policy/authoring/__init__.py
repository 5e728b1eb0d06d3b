"""Writing policies: checking a file, testing it, explaining a verdict, and writing a first policy.

This is what authors use, never what a gate runs: nothing here decides about anything. Each file is one of these words.
"""
