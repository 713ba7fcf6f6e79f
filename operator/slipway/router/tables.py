"""The route tables: one virtual host per deployment, one for paths, one for self-tests."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any as Json

from slipway.router.clusters import GRPC
from slipway.router.message import ROUTES, Packed, packed, table_of, typed, virtual_host
from slipway.router.route import Route

PUBLIC = "public"
SELF_TEST = "self-test"
REVISION_HEADER = "x-slipway-revision"
CLUSTER_HEADER = "x-slipway-cluster"
"""On the self-test listener alone: the cluster to ask, whatever its weight."""

TIMEOUT = "60s"
GRPC_METHODS = (
    r"/inference\.GRPCInferenceService/(ModelInfer|ModelMetadata|ModelReady|ServerLive|ServerReady)"
)
METHOD = ":method"


def public_table(routes: Iterable[Route], domains: Mapping[str, tuple[str, ...]]) -> Packed:
    """Hosts as settled by settle_hosts. What isn't infer, ready or metadata of a known model is 404.

    Only what changed is built: protobuf reads messages laid end to end as one, so parts are kept as bytes.
    """
    targets = [_target(route) for route in sorted(routes, key=lambda route: route.key)]
    by_path = b"".join(_path_routes(target) for target in targets)
    by_host = (_virtual_host(target, domains[target.key]) for target in targets)
    return Packed(ROUTES, b"".join([_table_head(), *by_host, _paths_host(by_path)]))


@lru_cache(maxsize=1)
def self_test_table() -> Packed:
    return packed(
        ROUTES,
        {
            "name": SELF_TEST,
            "virtual_hosts": [
                {
                    "name": SELF_TEST,
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "route": {"cluster_header": CLUSTER_HEADER, "timeout": TIMEOUT},
                        }
                    ],
                }
            ],
        },
    )


@dataclass(frozen=True)
class _Target:
    """All of a Route that its entries depend on; endpoints come and go without touching them."""

    key: str
    name: str
    weights: tuple[tuple[str, int], ...]
    """(cluster, weight), those above 0."""


def _target(route: Route) -> _Target:
    weights = tuple((route.cluster(arm), arm.weight) for arm in route.arms if arm.weight > 0)
    return _Target(route.key, route.name, weights)


def _table_head() -> bytes:
    return packed(ROUTES, {"name": PUBLIC, "ignore_port_in_host_matching": True}).value


@lru_cache(maxsize=8192)
def _virtual_host(target: _Target, domains: tuple[str, ...]) -> bytes:
    routes = [*_routes(target, ""), _grpc_route(target)]
    host = {"name": target.key, "domains": list(domains), "routes": routes, "retry_policy": RETRY}
    return packed(ROUTES, {"virtual_hosts": [host]}).value


@lru_cache(maxsize=8192)
def _path_routes(target: _Target) -> bytes:
    """Routes for those who come by path, as a part of a virtual host."""
    return virtual_host({"routes": _routes(target, f"/serve/{target.key}")})


def _paths_host(by_path: bytes) -> bytes:
    return table_of(virtual_host({"name": "paths", "domains": ["*"], "retry_policy": RETRY}) + by_path)


def _routes(target: _Target, prefix: str) -> list[dict[str, Json]]:
    model = f"/v2/models/{target.name}"
    infer = {"path": f"{prefix}{model}/infer", "headers": [_method("POST")]}
    ask = {
        "safe_regex": {"regex": f"{prefix}/v2(/health/(ready|live)|/models/{target.name}(/ready)?)?"},
        "headers": [_method("GET")],
    }
    return [{"match": match, **_action(target, "", prefix)} for match in (infer, ask)]


def _grpc_route(target: _Target) -> dict[str, Json]:
    return {"match": {"safe_regex": {"regex": GRPC_METHODS}, "grpc": {}}, **_action(target, GRPC, "")}


def _action(target: _Target, protocol: str, prefix: str) -> dict[str, Json]:
    if not target.weights:
        reason = f"No revision of {target.key} takes traffic yet."
        return {"direct_response": {"status": 503, "body": {"inline_string": reason}}}
    action: dict[str, Json] = {
        "weighted_clusters": {
            "clusters": [_share(cluster, weight, protocol) for cluster, weight in target.weights]
        },
        "timeout": TIMEOUT,
    }
    if prefix:
        action["regex_rewrite"] = {"pattern": {"regex": f"^{prefix}(/.*)$"}, "substitution": r"\1"}
    return {"route": action}


def _share(cluster: str, weight: int, protocol: str) -> dict[str, Json]:
    revision = cluster.rpartition("/")[2]
    header = {"key": REVISION_HEADER, "value": revision}
    return {
        "name": cluster + protocol,
        "weight": weight,
        "response_headers_to_add": [{"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
    }


def _method(method: str) -> dict[str, Json]:
    return {"name": METHOD, "string_match": {"exact": method}}


RETRY: dict[str, Json] = {
    # The last is a gRPC status: what Triton says once it has closed its models.
    "retry_on": "connect-failure,refused-stream,reset-before-request,retriable-status-codes,unavailable",
    "retriable_status_codes": [503],
    "num_retries": 2,
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": typed("retry.host.previous_hosts.v3.PreviousHostsPredicate"),
        }
    ],
    "host_selection_retry_max_attempts": 3,
}
