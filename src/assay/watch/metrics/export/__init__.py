"""Other systems that are told the metrics: Prometheus, OpenTelemetry, CloudWatch. One file each, one optional library.

A sink reads from the store and never changes a metric in it; what it could not deliver it is given again.
"""
