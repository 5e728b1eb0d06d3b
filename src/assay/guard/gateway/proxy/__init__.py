"""The embedded reverse proxy: HTTP/1.1 in and out, strictly framed, streaming both ways.

Whatever two readers could read in two ways is refused and never repaired; nothing reaches the model server before the
core has allowed it. It knows no rule, plan or protocol: those are behind `core.Core`.
"""

from assay.guard.gateway.proxy.listening import listen as listen
from assay.guard.gateway.proxy.server import Server as Server
