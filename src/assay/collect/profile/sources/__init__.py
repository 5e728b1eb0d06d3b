"""Where rows come from: one file per kind, each a `Source` of polars frames of bounded size, never the whole at once.

What cannot be read is an `AssayError` that names file and row, or a line that was left out, counted and told; a source
never turns what it does not understand into missing values.
"""
