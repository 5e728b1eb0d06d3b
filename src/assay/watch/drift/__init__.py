"""How far the present is from the baseline, and whether that is more than noise.

Everything works on profiles (`assay.collect.profile.interface`), never on the baseline's rows; only `joint` and the
domain classifier of `embeddings` need sampled rows, which the caller may keep or not. Nothing here raises an alarm
because of a p-value alone: see `verdict`.
"""
