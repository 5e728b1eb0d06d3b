"""Who calls: API keys, tokens of an identity provider, certificates. Nobody is anybody until it was proved here.

A credential never leaves this room: what others see of it is a `Caller`, whose id is public.
"""

from assay.guard.gateway.callers.directory import Directory as Directory
from assay.guard.gateway.callers.directory import build as build
