"""The gateway as ASGI middleware: the same decisions as in front of a model server, inside the application's process.

Pure ASGI 3. It must never fail open: what it cannot read, decide or harden is refused, and the application not asked.
"""

from assay.guard.gateway.asgi.middleware import Middleware as Middleware
