"""Answers that say less: rounded, cut, noisy, or the label alone. What cannot be understood is never passed on."""
