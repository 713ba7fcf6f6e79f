"""The listeners that come by xDS: public HTTP and gRPC, and the one for self-tests."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any as Json

from slipway.router.message import LISTENERS, Packed, packed, typed
from slipway.router.tables import PUBLIC, SELF_TEST
from slipway.router.tls import CONFIG_DIRECTORY, downstream_tls


@dataclass(frozen=True)
class Ports:
    """Where routers listen and keep their files; other than the defaults only without a pod network (tests)."""

    address: str = "0.0.0.0"
    http: int = 8000
    grpc: int = 8001
    self_test: int = 8100
    directory: str = CONFIG_DIRECTORY


@lru_cache(maxsize=8)
def listeners(ports: Ports) -> dict[str, Packed]:
    """By name. Both public ports speak HTTP/1.1, HTTP/2 and gRPC alike."""
    return {
        "http": packed(LISTENERS, _listener("http", ports.address, ports.http, PUBLIC)),
        "grpc": packed(LISTENERS, _listener("grpc", ports.address, ports.grpc, PUBLIC)),
        SELF_TEST: packed(
            LISTENERS,
            _listener(
                SELF_TEST,
                ports.address,
                ports.self_test,
                SELF_TEST,
                transport_socket=downstream_tls(ports.directory),
            ),
        ),
    }


def _listener(name: str, address: str, port: int, table: str, **chain: Json) -> dict[str, Json]:
    return {
        "name": name,
        "address": {"socket_address": {"address": address, "port_value": port}},
        "filter_chains": [
            {
                **chain,
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": typed(
                            "filters.network.http_connection_manager.v3.HttpConnectionManager",
                            stat_prefix=name,
                            codec_type="AUTO",
                            use_remote_address=True,
                            normalize_path=True,
                            merge_slashes=True,
                            path_with_escaped_slashes_action="REJECT_REQUEST",
                            rds={
                                "route_config_name": table,
                                "config_source": {
                                    "ads": {},
                                    "resource_api_version": "V3",
                                    "initial_fetch_timeout": "0s",
                                },
                            },
                            http_filters=[
                                {
                                    # A gRPC failure is HTTP 200: without this it would be counted as good.
                                    "name": "envoy.filters.http.grpc_stats",
                                    "typed_config": typed(
                                        "filters.http.grpc_stats.v3.FilterConfig", stats_for_all_methods=False
                                    ),
                                },
                                {
                                    "name": "envoy.filters.http.router",
                                    "typed_config": typed("filters.http.router.v3.Router"),
                                },
                            ],
                        ),
                    }
                ],
            }
        ],
    }
