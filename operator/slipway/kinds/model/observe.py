"""Reads what a Model's aliases may point to and what uses its versions."""

from collections.abc import Iterable, Mapping
from typing import Any

from slipway import api
from slipway.cache import View
from slipway.decision import Key
from slipway.kinds import lookup, uses
from slipway.kinds.model.decide import Deployment, Version, World

MODEL = "slipway.dev/model"
PRODUCER = "slipway.dev/producer"


def observe(view: View, key: Key) -> World | None:
    model = lookup.read(view.objects, api.Model, key.namespace, key.name)
    if model is None:
        return None
    manifests = view.objects.list("ModelVersion", key.namespace)
    own = lookup.parsed(api.ModelVersion, (m for m in manifests if _model_of(m) == key.name))
    own.sort(key=lambda version: (version.metadata.creation_timestamp, version.metadata.name), reverse=True)
    used = uses.of(view.objects, key.namespace)
    wanted = {
        alias.promoted.deployment_ref.name for alias in model.spec.aliases if alias.promoted is not None
    }
    found = {
        name: lookup.other(view.objects, api.ModelDeployment, key.namespace, name) for name in sorted(wanted)
    }
    return World(
        now=view.now,
        model=model,
        versions=tuple(_version(version, used, key.name) for version in own),
        deployments={name: _deployment(found_) for name, found_ in found.items() if found_ is not None},
        others=frozenset(manifest["metadata"]["name"] for manifest in manifests),
    )


def references(model: api.Model) -> Iterable[Key]:
    """Its versions wake it anyhow; they are named so that they learn who points to them."""
    namespace = model.metadata.namespace
    for alias in model.spec.aliases:
        if alias.promoted is not None:
            yield Key("ModelDeployment", namespace, alias.promoted.deployment_ref.name)
        if alias.fixed is not None:
            yield Key("ModelVersion", namespace, alias.fixed.model_version_ref.name)
    for state in model.status.aliases:
        if state.model_version_ref is not None:
            yield Key("ModelVersion", namespace, state.model_version_ref.name)


def _model_of(version: Mapping[str, Any]) -> str | None:
    return (version["spec"].get("modelRef") or {}).get("name")


def _version(version: api.ModelVersion, used: uses.Uses, model: str) -> Version:
    lineage = version.spec.lineage
    producer = lineage.producer if lineage is not None else None
    assert version.metadata.creation_timestamp is not None
    own_alias = [
        use for use in used.get(version.metadata.name, ()) if (use.kind, use.name) != ("Model", model)
    ]
    # A version that a user wrote has the labels that a selector may ask for, written or not.
    implied = {MODEL: model, PRODUCER: producer.kind if producer is not None else "User"}
    return Version(
        name=version.metadata.name,
        uid=version.metadata.uid,
        created=version.metadata.creation_timestamp,
        phase=version.status.phase or "Pending",
        labels={**implied, **version.metadata.labels},
        metrics=version.spec.evaluation.metrics if version.spec.evaluation is not None else {},
        made_by_slipway=producer is not None and producer.kind != "User",
        used=bool(own_alias),
    )


def _deployment(deployment: api.ModelDeployment) -> Deployment:
    stable = next((r for r in deployment.status.revisions if r.role == "Stable"), None)
    if stable is None:
        return Deployment(None, first=False)
    promoted = (entry for entry in deployment.status.history if entry.revision == stable.name)
    entry = next(promoted, None)
    return Deployment(
        stable.model_version_ref.name, first=entry is not None and entry.reason == "FirstRevision"
    )
