"""What attackers would learn from the user's own model, and what each setting of the gateway costs them and the others.

Everything runs in memory against a guarded copy of the model; no request leaves the process.
"""
