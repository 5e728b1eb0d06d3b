"""What the gateway counts: in each worker plain numbers, added up in one place, told to Prometheus and OpenTelemetry.

Labels are only what the configuration names (routes, rules), never what a stranger wrote: so their number is bounded.
"""

from assay.guard.gateway.metrics.families import families as families
from assay.guard.gateway.metrics.otlp import Exporter as Exporter
from assay.guard.gateway.metrics.prometheus import CONTENT_TYPE as CONTENT_TYPE
from assay.guard.gateway.metrics.prometheus import exposition as exposition
from assay.guard.gateway.metrics.registry import Registry as Registry
from assay.guard.gateway.metrics.registry import Total as Total
