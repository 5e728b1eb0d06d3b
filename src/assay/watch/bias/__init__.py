"""Whether a model, or its data, treats one group of people worse than another, and whether that grew.

The metrics are SageMaker Clarify's, with its names. The room measures; which metric is fair is for people to say.
"""
