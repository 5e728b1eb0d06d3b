"""Collectors: one room per kind of evidence. A collector states facts; it neither signs nor stores."""
