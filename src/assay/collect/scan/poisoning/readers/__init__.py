"""Rows out of the files of a data set, one at a time and within limits. Nothing here unpickles, imports or runs."""
