"""The gateway: guards a prediction API against those who would steal the model or learn who is in its training data.

Three ways in (`proxy`, `asgi`, `service`) ask one decision core (`core`). It must never let through what it could not
read in exactly one way, and never let what it remembers about a request delay the request.
"""
