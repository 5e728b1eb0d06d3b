"""Which names a model file may use: lists of what is allowed and denied, and how such lists are made."""
