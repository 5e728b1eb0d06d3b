"""The decision service: a hardened edge (nginx, HAProxy, Envoy) asks it about each request before passing it on.

It must never let through what the edge did not describe in full, and never what would need a body or an answer that it
does not see: those requests belong through the gateway itself.
"""

from assay.guard.gateway.service.server import Service as Service
