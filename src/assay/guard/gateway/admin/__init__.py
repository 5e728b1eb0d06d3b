"""The admin API: what an operator asks of a running gateway, over a unix socket or this machine's loopback.

It serves whoever has its token, and nobody by an address that others reach.
"""

from assay.guard.gateway.admin.client import call as call
from assay.guard.gateway.admin.interface import Operations as Operations
from assay.guard.gateway.admin.server import AdminServer as AdminServer
