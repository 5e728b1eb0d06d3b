"""What monitoring saw, as pictures: one self-contained page, and each chart as SVG and PNG.

Names come from strangers: everything is escaped, and a page holds neither scripts nor addresses.
"""
