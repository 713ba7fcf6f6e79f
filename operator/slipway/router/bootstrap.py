"""What an Envoy needs before it can ask: where the leader is, its certificates, and its two fixed listeners.

`python -m slipway.router.bootstrap --ads-host HOST` prints the files as one JSON object, name to text.
"""

import argparse
import json
from typing import Any as Json

from slipway.router.buckets import LADDER_MS
from slipway.router.message import typed
from slipway.router.tls import CONFIG_DIRECTORY, downstream_tls, secret_files, upstream_tls

ADMIN = "admin"
ADS = "ads"
DRAIN_ARGUMENTS = ("--drain-time-s", "30", "--drain-strategy", "immediate")
"""So that a drain closes keep-alive connections with their next answer; Envoy's default spreads it over 10 min."""


def drain_command(admin_port: int = 9901) -> list[str]:
    """For a preStop hook, before a sleep: Envoy ends at once on SIGTERM, and only POST starts a drain."""
    head = ("POST /drain_listeners?graceful&skip_exit HTTP/1.1", "host: admin", "content-length: 0")
    request = "".join(rf"{line}\r\n" for line in (*head, "connection: close", ""))
    return ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{admin_port}; printf '{request}' >&3; cat <&3"]


def bootstrap(
    ads_host: str,
    ads_port: int = 18000,
    *,
    directory: str = CONFIG_DIRECTORY,
    certificates: str = "/etc/slipway/tls",
    address: str = "0.0.0.0",
    stats_port: int = 8200,
    ready_port: int = 8081,
    admin_port: int = 9901,
) -> dict[str, str]:
    """Files for `directory` by name; Envoy starts from envoy.json, its node id comes from --service-node."""
    ads = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    envoy = {
        "node": {"cluster": "slipway-router"},
        "admin": {"address": _address("127.0.0.1", admin_port)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": ADS}}],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "static_resources": {
            "clusters": [
                _ads_cluster(ads_host, ads_port, directory),
                _cluster(ADMIN, "127.0.0.1", admin_port),
            ],
            "listeners": [
                _admin_listener(
                    "stats",
                    address,
                    stats_port,
                    "/stats/prometheus",
                    transport_socket=downstream_tls(directory),
                ),
                _admin_listener("ready", address, ready_port, "/ready"),
            ],
        },
        # Histograms show what came up to the last flush, counters what came up to now.
        "stats_flush_interval": "1s",
        "stats_config": {
            "histogram_bucket_settings": [
                {"match": {"suffix": "upstream_rq_time"}, "buckets": list(LADDER_MS)},
            ]
        },
    }
    files = {"envoy.json": envoy, **secret_files(directory, certificates)}
    return {name: json.dumps(content, indent=1) for name, content in files.items()}


def _ads_cluster(host: str, port: int, directory: str) -> dict[str, Json]:
    return {
        **_cluster(ADS, host, port),
        "type": "STRICT_DNS",
        "transport_socket": upstream_tls(directory),
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                "upstreams.http.v3.HttpProtocolOptions",
                explicit_http_config={
                    # A leader whose node died closes no connection.
                    "http2_protocol_options": {
                        "connection_keepalive": {"interval": "10s", "timeout": "5s"},
                    }
                },
            )
        },
    }


def _cluster(name: str, host: str, port: int) -> dict[str, Json]:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(host, port)}}]}],
        },
    }


def _admin_listener(name: str, address: str, port: int, path: str, **chain: Json) -> dict[str, Json]:
    """Lets GET `path` of the admin port through, and nothing else of it."""
    only = {"path": path, "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]}
    return {
        "name": name,
        "address": _address(address, port),
        "filter_chains": [
            {
                **chain,
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": typed(
                            "filters.network.http_connection_manager.v3.HttpConnectionManager",
                            stat_prefix=name,
                            route_config={
                                "name": name,
                                "virtual_hosts": [
                                    {
                                        "name": name,
                                        "domains": ["*"],
                                        "routes": [{"match": only, "route": {"cluster": ADMIN}}],
                                    }
                                ],
                            },
                            http_filters=[
                                {
                                    "name": "envoy.filters.http.router",
                                    "typed_config": typed("filters.http.router.v3.Router"),
                                }
                            ],
                        ),
                    }
                ],
            }
        ],
    }


def _address(host: str, port: int) -> dict[str, Json]:
    return {"socket_address": {"address": host, "port_value": port}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ads-host", required=True)
    parser.add_argument("--ads-port", type=int, default=18000)
    arguments = parser.parse_args()
    print(json.dumps(bootstrap(arguments.ads_host, arguments.ads_port), indent=1))


if __name__ == "__main__":
    main()
