"""Runtime trace v0.1: what a monitor saw a process do.

Source: in-toto/attestation, spec/predicates/runtime-trace.md.
"""

from __future__ import annotations

from typing import Any

from assay.evidence.predicates.common import Predicate, ResourceDescriptor, Text, Time

PREDICATE_TYPE = "https://in-toto.io/attestation/runtime-trace/v0.1"


class Monitor(Predicate, frozen=True, kw_only=True):
    """Who watched, and how."""

    type: Text
    """URI of the kind of monitor. An asynchronous one gives weaker digests, and its type says so."""
    config_source: ResourceDescriptor | None = None
    """Its configuration."""
    trace_policy: dict[str, Any] | None = None
    """What it was told to record."""


class MonitoredProcess(Predicate, frozen=True, kw_only=True, rename={"host_id": "hostID"}):
    """What was watched."""

    host_id: Text
    """The machine or builder."""
    type: Text
    """Kind of event: a build, a training step."""
    event: Text
    """The run."""


class MonitorLog(Predicate, frozen=True, kw_only=True):
    """What was seen: at least one of the three."""

    process: list[Any] | None = None
    """Processes."""
    network: list[Any] | None = None
    """Connections."""
    file_access: list[ResourceDescriptor] | None = None
    """Files, with digests where the monitor has them."""

    def check(self) -> None:
        """An absent log is no evidence that nothing happened."""
        if self.process is None and self.network is None and self.file_access is None:
            raise ValueError("monitorLog needs process, network or fileAccess")


class Metadata(Predicate, frozen=True, kw_only=True):
    """When."""

    build_started_on: Time | None = None
    """Start."""
    build_finished_on: Time | None = None
    """End."""


class RuntimeTrace(Predicate, frozen=True, kw_only=True):
    """The predicate."""

    monitor: Monitor
    """Who watched."""
    monitored_process: MonitoredProcess
    """What was watched."""
    monitor_log: MonitorLog
    """What was seen."""
    metadata: Metadata | None = None
    """When."""
