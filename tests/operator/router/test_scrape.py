"""Envoy's Prometheus text."""

from math import inf

import pytest

from slipway.router.scrape import Scrape, parse
from slipway.router.traffic import Counters

TEXT = """
# TYPE envoy_cluster_upstream_rq_xx counter
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="demo/fashion/a"} 6
envoy_cluster_upstream_rq_xx{envoy_response_code_class="4",envoy_cluster_name="demo/fashion/a"} 1
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="demo/fashion/a"} 2
envoy_cluster_retry_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="demo/fashion/a"} 90
envoy_cluster_external_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="demo/fashion/a"} 2
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="demo/fashion/a/grpc"} 9
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="demo/fashion/a/grpc"} 2
envoy_cluster_grpc_0{envoy_cluster_name="demo/fashion/a/grpc"} 5
envoy_cluster_grpc_1{envoy_cluster_name="demo/fashion/a/grpc"} 40
envoy_cluster_grpc_3{envoy_cluster_name="demo/fashion/a/grpc"} 3
envoy_cluster_grpc_14{envoy_cluster_name="demo/fashion/a/grpc"} 2
# TYPE envoy_server_uptime gauge
envoy_server_uptime{} 12
# TYPE envoy_cluster_upstream_rq_time histogram
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="demo/fashion/a",le="0.5"} 0
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="demo/fashion/a",le="2.1000000000000000888178419700125"} 4
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="demo/fashion/a",le="140"} 4
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="demo/fashion/a",le="58000"} 8
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="demo/fashion/a",le="+Inf"} 9
envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="demo/fashion/a"} 78.4
envoy_cluster_upstream_rq_time_count{envoy_cluster_name="demo/fashion/a"} 9
"""


def test_each_request_is_counted_once_and_grpc_by_its_status() -> None:
    assert parse(TEXT) == Scrape(
        12,
        {
            "demo/fashion/a": Counters(9, 2, 1, ((2.1, 4), (58000.0, 4), (inf, 1))),
            "demo/fashion/a/grpc": Counters(10, 2, 3),
        },
    )


def test_text_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="no envoy_server_uptime"):
        parse("<html>")


def test_buckets_that_are_not_ours_are_refused() -> None:
    with pytest.raises(ValueError, match="its bootstrap is of another version"):
        parse(TEXT.replace('le="140"', 'le="142"').replace('le="142"} 4', 'le="142"} 5'))
