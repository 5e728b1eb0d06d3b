"""Whether a model decides for other reasons than it did: drift of its features' attributions.

Attributions (SHAP values) are handed in; this room explains no model and never loads one.
"""
