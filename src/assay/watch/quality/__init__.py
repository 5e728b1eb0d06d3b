"""How good a model's predictions are: against ground truth that arrives later, or estimated without it.

Every number comes with an interval, and a verdict is given only where the interval allows one: an unlucky window is no
violation, and predictions that cannot be read never make a model look better.
"""
