"""Configurations of hardened edges (nginx, HAProxy, Envoy) that ask the decision service, from the gateway's settings.

What an edge cannot do is said, and never silently left out.
"""

from assay.guard.gateway.edge.export import EDGES as EDGES
from assay.guard.gateway.edge.export import Export as Export
from assay.guard.gateway.edge.export import export as export
from assay.guard.gateway.edge.plan import Place as Place
from assay.guard.gateway.edge.push import push as push
