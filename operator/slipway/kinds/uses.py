"""Who uses which ModelVersion in a namespace: deployments that serve it, aliases that point to it.

Read from the manifests as they are: parsing every deployment at each version's pass would cost more than all else.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from slipway.api.model_version import Use
from slipway.cache import Objects

Uses = Mapping[str, tuple[Use, ...]]
"""By name of the version; deployments first, then aliases, by name."""


def of(objects: Objects, namespace: str) -> Uses:
    found: dict[str, list[Use]] = {}
    for manifest in objects.list("ModelDeployment", namespace):
        use = Use(kind="ModelDeployment", name=manifest["metadata"]["name"])
        for name in dict.fromkeys(_served(manifest)):
            found.setdefault(name, []).append(use)
    for manifest in objects.list("Model", namespace):
        for alias, name in _pointed(manifest):
            use = Use(kind="Model", name=manifest["metadata"]["name"], alias=alias)
            found.setdefault(name, []).append(use)
    return {name: tuple(uses) for name, uses in found.items()}


def _served(deployment: Mapping[str, Any]) -> Iterable[str]:
    """What serves, and what is to serve. A deployment on its way out uses nothing any more."""
    if "deletionTimestamp" in deployment["metadata"]:
        return
    for revision in (deployment.get("status") or {}).get("revisions") or ():
        yield revision["modelVersionRef"]["name"]
    if wanted := deployment["spec"].get("modelVersionRef"):
        yield wanted["name"]


def _pointed(model: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    if "deletionTimestamp" in model["metadata"]:
        return
    for alias in (model.get("status") or {}).get("aliases") or ():
        if version := alias.get("modelVersionRef"):
            yield alias["name"], version["name"]
