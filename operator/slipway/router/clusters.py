"""One cluster per revision and protocol, and its endpoints.

The figures are those of the run that lost no request (300 requests/s while servers were stopped and killed).
"""

from functools import lru_cache
from typing import Any as Json

from slipway.router.message import CLUSTERS, ENDPOINTS, Packed, packed, typed
from slipway.router.route import Endpoint

GRPC = "/grpc"
PROBE = "/probe"
"""Suffixes of a revision's key."""


@lru_cache(maxsize=8192)
def serving_cluster(name: str) -> Packed:
    """The revision's HTTP or gRPC cluster, checked by Triton's own readiness.

    That answers at once and falls at the first moment of a shutdown. Whether the answers are right is the
    probe sidecar's to say: it makes the pod unready, and unready pods are no endpoints. One model and one
    version a pod: Triton's strict readiness, which falls when any load ever failed, can't mislead here.
    """
    h2 = name.endswith(GRPC)
    return packed(
        CLUSTERS,
        {
            **_eds(name, {"http2_protocol_options": {}} if h2 else {"http_protocol_options": {}}),
            "health_checks": [
                {
                    "timeout": "1s",
                    "interval": "0.5s",
                    "no_traffic_interval": "2s",
                    "unhealthy_threshold": 2,
                    "healthy_threshold": 1,
                    "http_health_check": {"path": "/v2/health/ready"},
                }
            ],
            "ignore_health_on_host_removal": True,
            "close_connections_on_host_health_failure": True,
            "outlier_detection": {
                "consecutive_5xx": 5,
                "interval": "1s",
                "base_ejection_time": "5s",
                "max_ejection_percent": 50,
            },
            # Envoy's default of 3 retries at once is used up the moment a pod dies under load.
            "circuit_breakers": {
                "thresholds": [
                    {
                        "max_connections": 4096,
                        "max_pending_requests": 4096,
                        "max_requests": 4096,
                        "retry_budget": {"budget_percent": {"value": 20}, "min_retry_concurrency": 16},
                    }
                ]
            },
        },
    )


@lru_cache(maxsize=8192)
def probe_cluster(name: str) -> Packed:
    """The revision's probe sidecars, for the self-test alone."""
    return packed(CLUSTERS, _eds(name, {"http_protocol_options": {}}))


@lru_cache(maxsize=8192)
def load_assignment(name: str, endpoints: tuple[Endpoint, ...]) -> Packed:
    """The ready ones among the endpoints; none is an answer too, or Envoy would wait."""
    return packed(
        ENDPOINTS,
        {
            "cluster_name": name,
            "endpoints": [
                {"lb_endpoints": [_endpoint(name, endpoint) for endpoint in endpoints if endpoint.ready]}
            ],
        },
    )


def _endpoint(name: str, endpoint: Endpoint) -> dict[str, Json]:
    port = endpoint.http
    if name.endswith(GRPC):
        port = endpoint.grpc
    elif name.endswith(PROBE):
        port = endpoint.probe
    return {
        "endpoint": {
            "address": {"socket_address": {"address": endpoint.ip, "port_value": port}},
            "health_check_config": {"port_value": endpoint.http},
        }
    }


def _eds(name: str, protocol: dict[str, Json]) -> dict[str, Json]:
    return {
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": {"ads": {}, "resource_api_version": "V3"}},
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                "upstreams.http.v3.HttpProtocolOptions",
                # Idle keep-alive connections would hold a stopping Triton until its exit timeout (30 s).
                common_http_protocol_options={"idle_timeout": "1s"},
                explicit_http_config=protocol,
            )
        },
    }
