"""The states of columns: what is added up, and how parts are joined.

Every state is a function of the values alone, never of their order or of how they were split. It must never hold a row.
"""
