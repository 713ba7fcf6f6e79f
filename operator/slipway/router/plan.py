"""From ModelDeployments and their pods, as the cache has them, to what is to be routed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from slipway.decision import Manifest
from slipway.manifests import NAME, REVISION
from slipway.router.route import Arm, Endpoint, Route

_Place = tuple[str, str, str]
"""Namespace, deployment, revision."""


def routes(
    deployments: Iterable[Manifest], pods: Iterable[Manifest], cluster_domain: str = "cluster.local"
) -> tuple[Route, ...]:
    """One for each deployment, with the revisions and weights that its status states.

    A revision without weight whose pods are ready may be tested.
    """
    endpoints = _endpoints(pods)
    return tuple(_route(deployment, endpoints, cluster_domain) for deployment in deployments)


def _route(deployment: Manifest, endpoints: Mapping[_Place, list[Endpoint]], cluster_domain: str) -> Route:
    metadata = deployment["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    revisions = deployment.get("status", {}).get("revisions", [])
    arms = []
    for revision in revisions:
        found = tuple(sorted(endpoints.get((namespace, name, revision["name"]), ()), key=lambda one: one.ip))
        weight = revision.get("weight", 0)
        self_test = weight == 0 and any(endpoint.ready for endpoint in found)
        arms.append(Arm(revision["name"], weight, found, self_test))
    return Route(
        namespace,
        name,
        datetime.fromisoformat(metadata["creationTimestamp"]),
        tuple(deployment.get("spec", {}).get("traffic", {}).get("hosts", [])),
        tuple(arms),
        cluster_domain,
    )


def _endpoints(pods: Iterable[Manifest]) -> dict[_Place, list[Endpoint]]:
    """Pods that have an address; those about to go are not ready, whatever they say."""
    endpoints: dict[_Place, list[Endpoint]] = defaultdict(list)
    for pod in pods:
        metadata, status = pod["metadata"], pod.get("status", {})
        labels = metadata.get("labels", {})
        if REVISION not in labels or NAME not in labels or not status.get("podIP"):
            continue
        ready = "deletionTimestamp" not in metadata and any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in status.get("conditions", [])
        )
        place = (metadata["namespace"], labels[NAME], labels[REVISION])
        endpoints[place].append(Endpoint(status["podIP"], ready))
    return endpoints
