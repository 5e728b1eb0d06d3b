"""Documents that a bill of materials is written as, one module each: ``render`` gives what is printed or
kept.
"""
