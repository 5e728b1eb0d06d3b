"""The gateway as processes: a supervisor that starts and restarts, workers that serve, a keeper that learns.

The supervisor binds the sockets and holds no thread and no library that might: it can fork at any time. Workers and
keeper speak over a unix socket in the state folder; a keeper that is gone stops nothing but what only it knows.
"""
