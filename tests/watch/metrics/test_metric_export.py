"""Sinks against servers that speak their protocol: what arrives, what is sent again, what can never arrive."""

from __future__ import annotations

import gzip
import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from assay.errors import UndecidedError, UsageError
from assay.watch.interface import Metric, Statistics
from assay.watch.metrics.export import prometheus
from assay.watch.metrics.export.cloudwatch import CloudWatchSink, namespace
from assay.watch.metrics.export.interface import bring_up_to_date
from assay.watch.metrics.export.otlp import OtlpSink, ucum
from assay.watch.metrics.interface import MetricStore
from assay.watch.metrics.store import open_store

T = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def store(tmp_path: object) -> MetricStore:
    return open_store(f"{tmp_path}/metrics.db")


class Server:
    """Keeps what is posted, and answers with `status` and `body`, or what `judge` says of a request."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.status, self.body = 200, b""
        self.judge: Any = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                status, answer = outer.judge(body) if outer.judge else (outer.status, outer.body)
                if status == 200:
                    outer.bodies.append(body)
                    outer.headers.append(dict(self.headers))
                self.send_response(status)
                self.send_header("Content-Type", self.headers["Content-Type"])
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def cloudwatch(server: Server, monkeypatch: pytest.MonkeyPatch) -> CloudWatchSink:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    return CloudWatchSink(endpoint_url=server.url, region="eu-west-1")


def requests(server: Server) -> list[dict[str, Any]]:
    assert all(headers["X-Amz-Target"].endswith(".PutMetricData") for headers in server.headers)
    return [json.loads(body) for body in server.bodies]


def test_cloudwatch_gets_names_times_and_summaries(
    store: MetricStore, server: Server, cloudwatch: CloudWatchSink
) -> None:
    dimensions = {"Endpoint": "churn", "MonitoringSchedule": "hourly"}
    store.put(
        [
            Metric("feature_baseline_drift_age", T, 0.25, dimensions=dimensions),
            Metric("feature_data_age", T, statistics=Statistics(10, 25, 1, 5), unit="Count", dimensions=dimensions),
            Metric("accuracy", T, 0.9, unit="None"),
        ],
        "run",
    )
    assert bring_up_to_date(store, cloudwatch, T).metrics == 3
    found = {request["Namespace"]: request["MetricData"] for request in requests(server)}
    head = {
        "Dimensions": [
            {"Name": "Endpoint", "Value": "churn"},
            {"Name": "MonitoringSchedule", "Value": "hourly"},
        ],
        "Timestamp": T.timestamp(),
    }
    summary = {"SampleCount": 10.0, "Sum": 25.0, "Minimum": 1.0, "Maximum": 5.0}
    data = sorted(found["/aws/sagemaker/Endpoints/data-metric"], key=lambda datum: datum["MetricName"])
    assert data == [
        head | {"MetricName": "feature_baseline_drift_age", "Value": 0.25, "Unit": "None"},
        head | {"MetricName": "feature_data_age", "StatisticValues": summary, "Unit": "Count"},
    ]
    assert [datum["Value"] for datum in found["aws/sagemaker/Endpoints/model-metrics"]] == [0.9]


def test_cloudwatch_batches(store: MetricStore, server: Server, cloudwatch: CloudWatchSink) -> None:
    store.put([Metric("m", T - number * SECOND, float(number)) for number in range(2_500)], "run")
    for run in range(200):  # one series at one instant, from many runs: values of one datum
        store.put([Metric("same", T, float(run))], f"run-{run}")
    assert bring_up_to_date(store, cloudwatch, T).metrics == 2_700
    sent = [request["MetricData"] for request in requests(server)]
    assert max(len(data) for data in sent) <= 1_000
    data = [datum for request in sent for datum in request]
    assert sorted(datum["Value"] for datum in data if datum["MetricName"] == "m") == list(range(2_500))
    same = [datum for datum in data if datum["MetricName"] == "same"]
    assert sorted(len(datum["Values"]) for datum in same) == [50, 150]
    assert sorted(value for datum in same for value in datum["Values"]) == list(range(200))
    assert bring_up_to_date(store, cloudwatch, T).metrics == 0


def test_a_sink_that_fails_loses_nothing(store: MetricStore, server: Server, cloudwatch: CloudWatchSink) -> None:
    store.put([Metric("m", T, 1.0)], "run")
    server.status, server.body = 400, json.dumps({"__type": "AccessDeniedException"}).encode()
    with pytest.raises(UndecidedError, match="did not take the metrics: AccessDenied"):
        bring_up_to_date(store, cloudwatch, T)
    assert store.forget(T + SECOND) == 0
    store.put([Metric("m", T + SECOND, 2.0)], "run")
    server.status = 200
    assert bring_up_to_date(store, cloudwatch, T).metrics == 2
    assert sorted(d["Value"] for request in requests(server) for d in request["MetricData"]) == [1.0, 2.0]


def test_throttling_is_tried_again(store: MetricStore, server: Server, cloudwatch: CloudWatchSink) -> None:
    store.put([Metric("m", T, 1.0)], "run")
    answers = iter([(400, json.dumps({"__type": "ThrottlingException"}).encode()), (503, b""), (200, b"")])
    server.judge = lambda _: next(answers)
    assert bring_up_to_date(store, cloudwatch, T).metrics == 1
    assert len(server.bodies) == 1


def test_one_refused_metric_does_not_hold_up_the_others(
    store: MetricStore, server: Server, cloudwatch: CloudWatchSink
) -> None:
    store.put([Metric(f"m{number}", T, float(number)) for number in range(50)], "run")

    def judge(body: bytes) -> tuple[int, bytes]:
        if b'"m17"' in body:
            said = {"__type": "InvalidParameterValueException", "message": "m17 is odd"}
            return 400, json.dumps(said).encode()
        return 200, b""

    server.judge = judge
    sent = bring_up_to_date(store, cloudwatch, T)
    assert (sent.metrics, sent.refused) == (49, ("m17: m17 is odd",))
    names = [datum["MetricName"] for request in requests(server) for datum in request["MetricData"]]
    assert sorted(names) == sorted(f"m{number}" for number in range(50) if number != 17)
    assert len(store.since(0, 100)) == 50


def test_what_cloudwatch_takes_no_more_is_told(store: MetricStore, server: Server, cloudwatch: CloudWatchSink) -> None:
    store.put([Metric("old", T - timedelta(days=15), 1.0), Metric("far", T + timedelta(hours=3), 1.0)], "run")
    sent = bring_up_to_date(store, cloudwatch, T)
    assert sent.metrics == 0
    assert [said.split(":")[0] for said in sent.refused] == ["old", "far"]
    assert server.bodies == []


def test_namespaces_of_model_monitor() -> None:
    endpoint = {"Endpoint": "e", "MonitoringSchedule": "s"}
    wanted = {
        "feature_data_age": "/aws/sagemaker/Endpoints/data-metric",
        "feature_non_null_age": "/aws/sagemaker/Endpoints/data-metric",
        "bias_metric_DPPL": "aws/sagemaker/Endpoints/bias-metrics",
        "f1_best_constant_classifier": "aws/sagemaker/Endpoints/model-metrics",
        "weighted_f0_5": "aws/sagemaker/Endpoints/model-metrics",
        "anything": "assay",
    }
    assert {name: namespace(Metric(name, T, 1.0, dimensions=endpoint)) for name in wanted} == wanted
    assert namespace(Metric("feature_data_age", T, 1.0)) == "/aws/sagemaker/ModelMonitoring/data-metric"


def test_otlp(store: MetricStore, server: Server) -> None:
    store.put(
        [
            Metric("accuracy", T, 0.5, dimensions={"model": "churn"}),
            Metric("accuracy", T + SECOND, 0.75, dimensions={"model": "fraud"}),
            Metric("latency", T, statistics=Statistics(4, 10.0, 1.0, 5.0), unit="Milliseconds"),
            Metric("odd", T, statistics=Statistics(0.5, 1.0, 2.0, 2.0)),
        ],
        "run",
    )
    sink = OtlpSink(f"{server.url}/v1/metrics", timeout=60)
    sent = bring_up_to_date(store, sink, T)
    assert (sent.metrics, sent.refused) == (3, ("odd: OpenTelemetry counts in whole numbers",))
    (body,) = server.bodies
    request = ExportMetricsServiceRequest.FromString(body)
    (resource,) = request.resource_metrics
    metrics = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    points = [
        (point.attributes[0].value.string_value, point.time_unix_nano, point.as_double)
        for point in metrics["accuracy"].gauge.data_points
    ]
    at = int(T.timestamp()) * 10**9
    assert points == [("churn", at, 0.5), ("fraud", at + 10**9, 0.75)]
    (histogram,) = metrics["latency"].histogram.data_points
    assert (histogram.count, histogram.sum, histogram.min, histogram.max) == (4, 10.0, 1.0, 5.0)
    assert list(histogram.bucket_counts) == [4]
    assert metrics["latency"].unit == "ms"
    assert bring_up_to_date(store, sink, T).metrics == 0


def test_otlp_that_fails_gets_it_again(store: MetricStore, server: Server) -> None:
    store.put([Metric("accuracy", T, 0.5)], "run")
    sink = OtlpSink(f"{server.url}/v1/metrics", timeout=60)
    server.status = 401
    with pytest.raises(UndecidedError, match="collector did not take"):
        bring_up_to_date(store, sink, T)
    server.status = 200
    assert bring_up_to_date(store, sink, T).metrics == 1


def test_units() -> None:
    wanted = {"Kilobytes/Second": "kBy/s", "Terabits": "Tbit", "Count/Second": "{count}/s", "None": "1", "Bytes": "By"}
    assert {unit: ucum(unit) for unit in wanted} == wanted


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_prometheus_textfile(store: MetricStore, tmp_path: object) -> None:
    store.put([Metric("accuracy", T - SECOND, 0.1), Metric("accuracy", T, 0.5)], "run")
    store.put([Metric("accuracy", T, 0.9, dimensions={"Monitoring-Schedule": 'a"b\\c\nd'.replace("\n", " ")})], "run")
    store.put([Metric("drift:ks", T, 0.3, dimensions={"a-b": "1", "a_b": "2", "1x": "3", "metric": "4"})], "run")
    store.put([Metric("latency", T, statistics=Statistics(4, 10.0, 1.0, 5.0))], "run")
    store.put([Metric("latency_count", T, 7.0)], "run")
    path = f"{tmp_path}/assay.prom"
    assert bring_up_to_date(store, prometheus.TextfileSink(store, path), T).metrics == 6
    with open(path, "rb") as file:
        text = file.read()
    found = samples(text)
    ks = (("a_b", "1"), ("a_b_2", "2"), ("dimension_1x", "3"), ("dimension_metric", "4"), ("metric", "drift:ks"))
    assert found[("assay_accuracy", ())] == 0.5
    assert found[("assay_accuracy", (("Monitoring_Schedule", 'a"b\\c d'),))] == 0.9
    assert found[("assay_drift_ks", ks)] == 0.3
    assert found[("assay_latency_sum", (("metric", "latency"),))] == 10.0
    assert found[("assay_latency_count", (("metric", "latency"),))] == 4.0
    assert found[("assay_latency_count", ())] == 7.0
    assert found[("assay_metric_time_seconds", (("metric", "accuracy"),))] == T.timestamp()
    lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
    assert len(lines) == len(found)  # nothing stands twice
    families = text_string_to_metric_families(text.decode())
    assert {sample.timestamp for family in families for sample in family.samples} == {
        None
    }  # node_exporter refuses them
    with pytest.raises(UsageError, match="there is no folder"):
        bring_up_to_date(store, prometheus.TextfileSink(store, f"{tmp_path}/no/where.prom", name="other"), T)


def test_prometheus_server(store: MetricStore) -> None:
    store.put([Metric("accuracy", T, 0.5)], "run")
    running = prometheus.server(store, 0)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    try:
        base = f"http://127.0.0.1:{running.server_address[1]}"
        with urllib.request.urlopen(f"{base}/metrics", timeout=60) as answer:
            assert answer.headers["Content-Type"] == prometheus.CONTENT_TYPE
            assert samples(answer.read())[("assay_accuracy", ())] == 0.5
        with pytest.raises(urllib.error.HTTPError, match="404") as caught:
            urllib.request.urlopen(f"{base}/etc/passwd", timeout=60)
        caught.value.close()
        with pytest.raises(UsageError, match="cannot be served"):
            prometheus.server(store, running.server_address[1])
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def test_prometheus_server_without_a_store_says_so(store: MetricStore, tmp_path: object) -> None:
    running = prometheus.server(store, 0)
    with open(f"{tmp_path}/metrics.db", "wb") as file:
        file.write(b"this is no database at all" * 50)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    try:
        with pytest.raises(urllib.error.HTTPError, match="503") as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{running.server_address[1]}/metrics", timeout=60)
        caught.value.close()
    finally:
        running.shutdown()
        thread.join()
        running.server_close()
