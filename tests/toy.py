"""A kind for tests of the engine: a Dataset that keeps a ConfigMap, runs one Job, then makes a ModelVersion;
and a Model that tells how many of the Datasets it names are done.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cluster import Cluster
from slipway import manifests
from slipway.cache import View
from slipway.contract.config import Owner
from slipway.controller import AnyController, Controller
from slipway.decision import Decision, Event, Key, Manifest, Patch, Target

NAMESPACE = "demo"


@dataclass(frozen=True)
class World:
    resource: Manifest
    config: Manifest | None
    job: Manifest | None
    others: tuple[Manifest, ...]


def owner_of(resource: Manifest) -> Owner:
    metadata = resource["metadata"]
    return Owner(
        kind=resource["kind"], namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"]
    )


def observe(view: View, key: Key) -> World | None:
    resource = view.objects.get(key.kind, key.namespace, key.name)
    if resource is None:
        return None
    owned = view.objects.owned(resource["metadata"]["uid"])
    return World(
        resource,
        view.objects.get("ConfigMap", key.namespace, key.name),
        view.objects.get("Job", key.namespace, f"{key.name}-1"),
        tuple(other for other in owned if other["metadata"]["name"].endswith("-scratch")),
    )


def decide(world: World) -> Decision:
    resource, owner = world.resource, owner_of(world.resource)
    if resource["spec"].get("broken"):
        raise ValueError("spec.broken is set")
    if "deletionTimestamp" in resource["metadata"]:
        return Decision(finalizer=False)
    conditions = ((world.job or {}).get("status") or {}).get("conditions") or ()
    done = any(condition["type"] == "Complete" for condition in conditions)
    suspend = bool(resource["spec"].get("suspend"))
    status = {
        "observedGeneration": resource["metadata"]["generation"],
        "phase": "Ready" if done else "Running",
        "conditions": [{"type": "Ready", "status": str(done), "reason": "Toy", "message": ""}],
    }
    labels = manifests.labels(owner, attempt=1)
    scratch = {**_config(owner, "scratch", resource["spec"]), "immutable": True}
    scratch["metadata"] = manifests.metadata(owner, f"{owner.name}-scratch", labels)
    return Decision(
        finalizer=True,
        create=(_job(owner, labels), *(() if done else (scratch,)), *((_version(owner),) if done else ())),
        apply=(_config(owner, owner.name, resource["spec"]),),
        patch=(Patch(target(world.job), {"spec": {"suspend": suspend}}),) if world.job and not done else (),
        delete=tuple(target(other) for other in world.others) if done else (),
        status=status,
        annotations={"slipway.dev/seen": "yes"},
        events=(Event("Normal", "Prepared", "Done."),) if done and phase(resource) != "Ready" else (),
        again_in=None if done else 60.0,
    )


@dataclass(frozen=True)
class ModelWorld:
    resource: Manifest
    datasets: tuple[Manifest | None, ...]


def observe_model(view: View, key: Key) -> ModelWorld | None:
    resource = view.objects.get(key.kind, key.namespace, key.name)
    if resource is None:
        return None
    names = resource["spec"].get("datasets", [])
    return ModelWorld(resource, tuple(view.objects.get("Dataset", key.namespace, name) for name in names))


def decide_model(world: ModelWorld) -> Decision:
    ready = sum(phase(dataset) == "Ready" for dataset in world.datasets if dataset is not None)
    return Decision(status={"observedGeneration": 1, "phase": "Ready", "summary": f"{ready} ready"})


def model_references(resource: Manifest) -> Iterable[Key]:
    metadata = resource["metadata"]
    return [Key("Dataset", metadata["namespace"], name) for name in resource["spec"].get("datasets", [])]


CONTROLLERS: tuple[AnyController, ...] = (
    Controller("Dataset", observe, decide, lambda resource: ()),
    Controller("Model", observe_model, decide_model, model_references),
)
PARSE: dict[str, Callable[[Manifest], Any]] = {"Dataset": dict, "Model": dict}


def phase(resource: Manifest) -> str | None:
    found: str | None = (resource.get("status") or {}).get("phase")
    return found


def target(manifest: Manifest) -> Target:
    metadata = manifest["metadata"]
    return Target(
        manifest["apiVersion"], manifest["kind"], metadata["namespace"], metadata["name"], metadata["uid"]
    )


def dataset(name: str = "digits", **spec: Any) -> dict[str, Any]:
    return _ours("Dataset", name, spec)


def model(*datasets: str) -> dict[str, Any]:
    return _ours("Model", "both", {"datasets": list(datasets)})


def new_cluster() -> Cluster:
    return Cluster(CONTROLLERS, PARSE)


def _ours(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": manifests.API_VERSION, "kind": kind, "metadata": metadata, "spec": dict(spec)}


def _config(owner: Owner, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    data = {key: str(value) for key, value in spec.items()}
    metadata = manifests.metadata(owner, name, manifests.labels(owner))
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _job(owner: Owner, labels: Mapping[str, str]) -> dict[str, Any]:
    container = {"name": "main", "image": "registry.test/job:1"}
    template = {
        "metadata": {"labels": dict(labels)},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": manifests.metadata(owner, f"{owner.name}-1", labels),
        "spec": {"backoffLimit": 0, "suspend": False, "template": template},
    }


def _version(owner: Owner) -> dict[str, Any]:
    producer = {"kind": owner.kind, "name": owner.name, "uid": owner.uid}
    version = _ours("ModelVersion", owner.name, {"lineage": {"producer": producer}})
    version["metadata"]["labels"] = manifests.labels(owner)
    return version
