from __future__ import annotations

import gzip
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from assay.guard.gateway.interface import Caller, Context, Decision, Route, Usage, Verb
from assay.guard.gateway.metrics import Exporter, Registry, Total, exposition, families
from assay.guard.gateway.metrics.families import Family, Histogram
from assay.guard.gateway.metrics.registry import BUCKETS, SERIES
from assay.guard.gateway.settings.around import Otlp
from assay.guard.gateway.settings.words import Seconds

ROUTE = Route("open-inference", Verb.INFER, "m", "", "/v2/models/{model}/infer", 0)


def finished(**changed: Any) -> Context:
    context = Context("POST", b"/v2/models/m/infer", {}, "192.0.2.7", 1_790_000_000.0)
    context.route, context.status, context.usage = ROUTE, 200, Usage(4, 10, 20)
    context.bytes_in, context.bytes_out = 95, 101
    context.upstream, context.first_byte, context.ended = 0.020, 0.0203, 0.021
    for name, value in changed.items():
        setattr(context, name, value)
    return context


def told(total: Total, *workers: dict[str, float], **more: Any) -> dict[tuple[str, ...], float]:
    """What Prometheus' own parser reads: name and labels to value."""
    found = {}
    text = exposition(families(total, workers, **more)).decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def summed(*registries: Registry) -> Total:
    """As it goes from workers to the keeper."""
    total = Total()
    for one in registries:
        total.add(msgspec.msgpack.decode(msgspec.msgpack.encode(one.take())))
    return total


def test_requests_are_counted_by_route_verb_status_and_rule() -> None:
    one, two = Registry(), Registry()
    for _ in range(3):
        one.record(finished())
    two.record(finished())
    two.record(finished(status=429, decision=Decision(False, 429, "plan:rate"), usage=None, upstream=0.0))
    two.record(finished(status=404, decision=Decision(False, 404, "route"), usage=None, route=None, upstream=0.0))
    found = told(summed(one, two))
    name, route = "assay_gateway_requests_total", "route=/v2/models/{model}/infer"
    assert found[name, route, "rule=-", "status=2xx", "verb=infer"] == 4
    assert found[name, route, "rule=plan:rate", "status=4xx", "verb=infer"] == 1
    assert found[name, "route=-", "rule=route", "status=4xx", "verb=-"] == 1
    labels = (route, "rule=-", "status=2xx", "verb=infer")
    assert found["assay_gateway_rows_total", *labels] == 16
    assert found["assay_gateway_input_tokens_total", *labels] == 40
    assert found["assay_gateway_output_tokens_total", *labels] == 80
    assert found["assay_gateway_request_bytes_total", *labels] == 4 * 95
    assert found["assay_gateway_response_bytes_total", *labels] == 4 * 101


def test_the_gateways_own_latency_stands_beside_the_models() -> None:
    one = Registry()
    one.record(finished())  # 20 ms of the model, 0.3 ms of ours
    one.record(finished(first_byte=1.0203, wait=1.0))  # slowed down on purpose: that is no overhead
    found = told(summed(one))
    route = "route=/v2/models/{model}/infer"
    assert found["assay_gateway_overhead_seconds_count", route] == 2
    assert found["assay_gateway_overhead_seconds_sum", route] == pytest.approx(0.0006)
    assert found["assay_gateway_upstream_seconds_sum", route] == pytest.approx(0.04)
    assert found["assay_gateway_overhead_seconds_bucket", "le=0.00025", route] == 0
    assert found["assay_gateway_overhead_seconds_bucket", "le=0.0005", route] == 2
    assert found["assay_gateway_upstream_seconds_bucket", "le=0.01", route] == 0
    assert found["assay_gateway_upstream_seconds_bucket", "le=0.025", route] == 2
    assert found["assay_gateway_upstream_seconds_bucket", "le=+Inf", route] == 2
    assert found["assay_gateway_cpu_seconds_total",] > 0


@given(st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=50))
def test_histograms_are_what_the_values_say(values: list[float]) -> None:
    one = Registry()
    for value in values:
        one.record(finished(upstream=value, first_byte=value))
    found = told(summed(one))
    asked = [value for value in values if value]
    for bound in (*BUCKETS, math.inf) if asked else ():
        said = "+Inf" if math.isinf(bound) else repr(bound).removesuffix(".0")
        key = ("assay_gateway_upstream_seconds_bucket", f"le={said}", "route=/v2/models/{model}/infer")
        assert found[key] == sum(value <= bound for value in asked)


def test_deltas_add_up_however_often_they_are_taken() -> None:
    one, total = Registry(), Total()
    for number in range(100):
        one.record(finished(status=200 + 100 * (number % 3)))
        one.total("log_lines_lost", number)
        if number % 7 == 0:
            total.add(one.take())
    total.add(one.take())
    before = {key: list(value) for key, value in total.series.items()}
    total.add(one.take())
    assert total.series == before  # nothing new, nothing counted
    assert sum(numbers[0] for numbers in total.series.values()) == 100
    assert total.counters["log_lines_lost"] == 99


def test_nothing_is_lost_between_a_thread_that_counts_and_one_that_takes() -> None:
    one, total, over = Registry(), Total(), threading.Event()

    def take() -> None:
        while not over.is_set():
            total.add(one.take())

    thread = threading.Thread(target=take)
    thread.start()
    context = finished()
    for _ in range(20_000):
        one.record(context)
    over.set()
    thread.join()
    total.add(one.take())
    (numbers,) = total.series.values()
    assert numbers[0] == 20_000 and numbers[1] == 80_000


def test_series_are_bounded_and_callers_are_no_label_unless_wanted() -> None:
    one = Registry()
    for number in range(50):
        one.record(finished(caller=Caller(f"key:{number}")))
    assert len(summed(one).series) == 1
    many = Registry(by_caller=True)
    for number in range(SERIES + 50):
        many.record(finished(caller=Caller(f"key:{number}")))
    total = summed(many)
    assert len(total.series) == SERIES + 1
    assert total.series["other", "other", "other", "other", ""][0] == 50
    total.add(many.take())
    found = told(total)
    labels = ("caller=key:7", "route=/v2/models/{model}/infer", "rule=-", "status=2xx", "verb=infer")
    assert found["assay_gateway_requests_total", *labels] == 1
    another = Registry(by_caller=True)
    for number in range(SERIES):
        another.record(finished(caller=Caller(f"other:{number}")))
    total.add(another.take())
    assert len(total.series) == SERIES + 1


def test_how_things_stand_is_told_as_gauges() -> None:
    found = told(
        summed(Registry()),
        {"connections": 3.0, "in_flight": 1.0},
        {"connections": 4.0},
        standings={"harden": 2, "block": 1},
        counters={"capture_dropped": 5},
        proved=False,
    )
    assert found["assay_gateway_connections",] == 7
    assert found["assay_gateway_in_flight",] == 1
    assert found["assay_gateway_callers", "level=block"] == 1
    assert found["assay_gateway_callers", "level=harden"] == 2
    assert found["assay_gateway_capture_dropped_total",] == 5
    assert found["assay_gateway_model_proved",] == 0
    assert ("assay_gateway_model_proved",) not in told(Total())


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=30))
def test_no_label_makes_a_line(text: str) -> None:
    one = Registry()
    one.record(
        finished(route=Route("json", Verb.INFER, "m", "", "/" + text), decision=Decision(False, 403, "x" + text))
    )
    total = summed(one)
    data = exposition(families(total)).decode()
    assert sum(line.startswith("assay_gateway_requests_total{") for line in data.split("\n")) == 1
    found = told(total)
    assert any(f"route=/{text}" in key and f"rule=x{text}" in key for key in found)


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no name of a metric"):
        exposition([Family("a b", "gauge", "", "1", (((), 1.0),))])


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP."""

    daemon_threads = True
    status = 200

    def __init__(self) -> None:
        self.got: list[ExportMetricsServiceRequest] = []

        class Handler(BaseHTTPRequestHandler):
            server: Collector

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                self.server.got.append(ExportMetricsServiceRequest.FromString(body))
                self.send_response(self.server.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}/v1/metrics"


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_collector_gets_all_of_it(collector: Collector) -> None:
    one = Registry()
    for _ in range(3):
        one.record(finished())
    said: list[str] = []
    exporter = Exporter(Otlp(endpoint=collector.address, every=Seconds(15)), 1000.0, said.append)
    assert [exporter.due(now) for now in (1000.0, 1014.9, 1015.0)] == [False, False, True]
    whole = families(summed(one), [{"in_flight": 2.0}], proved=True)
    exporter.send(whole, 1015.0)
    assert not exporter.due(1029.0)
    exporter.close()
    (resource,) = collector.got[0].resource_metrics
    assert {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"] == "assay-gateway"
    found = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    assert set(found) == {family.name for family in whole if family.samples}
    (requests,) = found["assay_gateway_requests"].sum.data_points
    assert found["assay_gateway_requests"].sum.is_monotonic
    assert (requests.as_double or requests.as_int, requests.start_time_unix_nano) == (3, 1000 * 10**9)
    assert {one.key: one.value.string_value for one in requests.attributes} == {
        "route": "/v2/models/{model}/infer",
        "verb": "infer",
        "status": "2xx",
        "rule": "-",
    }
    (latency,) = found["assay_gateway_upstream_seconds"].histogram.data_points
    assert latency.count == 3 and latency.sum == pytest.approx(0.06)
    assert list(latency.explicit_bounds) == list(BUCKETS)
    assert list(latency.bucket_counts)[BUCKETS.index(0.025)] == 3
    assert found["assay_gateway_model_proved"].gauge.data_points[0].as_double == 1
    assert said == []


def test_a_collector_that_refuses_or_is_gone_is_told_once(collector: Collector) -> None:
    said: list[str] = []
    collector.status = 400
    exporter = Exporter(Otlp(endpoint=collector.address), 0.0, said.append)
    for now in (15.0, 30.0):
        exporter.send(families(Total(), [{"in_flight": 1.0}]), now)
        assert exporter._thread is not None
        exporter._thread.join()
    assert said == ["the OpenTelemetry collector does not take the metrics"]
    assert len(collector.got) == 2
    exporter.close()


def test_buckets_rise_and_every_histogram_has_one_more() -> None:
    assert all(a < b for a, b in pairwise(BUCKETS))
    one = Registry()
    one.record(finished())
    histograms = [
        value for family in families(summed(one)) for _, value in family.samples if isinstance(value, Histogram)
    ]
    assert [len(one.counts) for one in histograms] == [len(BUCKETS) + 1] * 2
