"""The ``exports:`` list: what it may say, and that one export that fails does not hold up the others."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from assay.alerts.sinks.interface import SinkError
from assay.errors import DocumentError, UndecidedError
from assay.watch.interface import Metric
from assay.watch.metrics.export.interface import bring_up_to_date
from assay.watch.metrics.export.settings import parse
from assay.watch.metrics.interface import MetricStore
from assay.watch.metrics.store import open_store

T = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: object) -> MetricStore:
    opened = open_store(f"{tmp_path}/metrics.db")
    opened.put([Metric("accuracy", T, 0.5)], "run")
    return opened


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({}, "type"),
        ({"type": "carbon", "name": "a"}, "carbon"),
        ({"type": "otlp"}, "name"),
        ({"type": "otlp", "name": ""}, "name: 1 to 100"),
        ({"type": "otlp", "name": "taken"}, "another export"),
        ({"type": "otlp", "name": "a", "endpoint": "localhost:4318"}, "endpoint: an address"),
        ({"type": "cloudwatch", "name": "a", "endpoint-url": "file:///etc/passwd"}, "endpoint-url: an address"),
        ({"type": "prometheus-file", "name": "a", "path": "assay.txt"}, r"end with \.prom"),
        ({"type": "otlp", "name": "a", "headers": {"h": "${HOME}"}}, "headers"),
        ({"type": "cloudwatch", "name": "a", "secret-key": "k"}, "secret-key"),
    ],
)
def test_refused(store: MetricStore, entry: dict[str, object], said: str) -> None:
    with pytest.raises(DocumentError, match=said):
        parse([{"type": "prometheus-file", "name": "taken", "path": "x.prom"}, entry], "/", store)


def test_every_kind(store: MetricStore, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = "http://127.0.0.1:1"
    raw = [
        {"type": "cloudwatch", "name": "aws", "region": "eu-west-1", "endpoint-url": gone, "namespace": "n"},
        {"type": "otlp", "name": "otel", "endpoint": gone, "headers": {"authorization": "${ASSAY_ALERT_TOKEN}"}},
        {"type": "prometheus-file", "name": "node", "path": "assay.prom"},
    ]
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("ASSAY_ALERT_TOKEN", raising=False)
    cloudwatch, otlp, prometheus = parse(raw, str(tmp_path), store)
    with pytest.raises(UndecidedError, match="CloudWatch cannot be reached"):
        bring_up_to_date(store, cloudwatch, T)
    with pytest.raises(SinkError, match="ASSAY_ALERT_TOKEN is not set"):
        bring_up_to_date(store, otlp, T)
    bring_up_to_date(store, prometheus, T)
    assert [store.position(name) for name in ("aws", "otel", "node")] == [0, 0, 1]
    with open(f"{tmp_path}/assay.prom", encoding="utf-8") as file:
        assert "assay_accuracy 0.5" in file.read()
    assert store.forget(datetime(2027, 1, 1, tzinfo=UTC)) == 0
