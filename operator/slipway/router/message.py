"""Envoy's messages, written as in its documentation: dicts in proto JSON, checked against the protobufs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any as Json

# xds-protos and protobuf ship no type hints.
from envoy.config.cluster.v3.cluster_pb2 import Cluster  # type: ignore[import-untyped]
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment  # type: ignore[import-untyped]
from envoy.config.listener.v3.listener_pb2 import Listener  # type: ignore[import-untyped]
from envoy.config.route.v3.route_components_pb2 import VirtualHost  # type: ignore[import-untyped]
from envoy.config.route.v3.route_pb2 import RouteConfiguration  # type: ignore[import-untyped]

# These fill the registry from which a typed_config is read by its "@type".
from envoy.extensions.filters.http.grpc_stats.v3 import config_pb2 as _grpc_stats  # type: ignore[import-untyped]  # noqa: F401
from envoy.extensions.filters.http.router.v3 import router_pb2 as _router  # type: ignore[import-untyped]  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import (  # type: ignore[import-untyped]
    http_connection_manager_pb2 as _http_connection_manager,  # noqa: F401
)
from envoy.extensions.retry.host.previous_hosts.v3 import (  # type: ignore[import-untyped]
    previous_hosts_pb2 as _previous_hosts,  # noqa: F401
)
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2 as _tls  # type: ignore[import-untyped]  # noqa: F401
from envoy.extensions.upstreams.http.v3 import (  # type: ignore[import-untyped]
    http_protocol_options_pb2 as _http_protocol_options,  # noqa: F401
)
from google.protobuf.json_format import ParseDict  # type: ignore[import-untyped]


@dataclass(frozen=True)
class Packed:
    """A resource as xDS carries it."""

    type_url: str
    value: bytes


TYPE = "type.googleapis.com/"
CLUSTERS = TYPE + Cluster.DESCRIPTOR.full_name
ENDPOINTS = TYPE + ClusterLoadAssignment.DESCRIPTOR.full_name
LISTENERS = TYPE + Listener.DESCRIPTOR.full_name
ROUTES = TYPE + RouteConfiguration.DESCRIPTOR.full_name

_MESSAGES = {
    CLUSTERS: Cluster,
    ENDPOINTS: ClusterLoadAssignment,
    LISTENERS: Listener,
    ROUTES: RouteConfiguration,
}


def typed(name: str, /, **fields: Json) -> dict[str, Json]:
    """A typed_config; `name` as in envoy.extensions.<name>."""
    return {"@type": f"{TYPE}envoy.extensions.{name}", **fields}


def packed(type_url: str, resource: Mapping[str, Json]) -> Packed:
    """The same dict gives the same bytes."""
    message = ParseDict(resource, _MESSAGES[type_url]())
    return Packed(type_url, message.SerializeToString(deterministic=True))


def virtual_host(fields: Mapping[str, Json]) -> bytes:
    """A VirtualHost, or a part of one."""
    encoded: bytes = ParseDict(fields, VirtualHost()).SerializeToString(deterministic=True)
    return encoded


def table_of(host: bytes) -> bytes:
    """A RouteConfiguration, or a part of one, with this virtual host."""
    table = RouteConfiguration()
    table.virtual_hosts.add().MergeFromString(host)
    encoded: bytes = table.SerializeToString(deterministic=True)
    return encoded
