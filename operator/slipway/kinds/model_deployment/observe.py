"""ModelDeployment: from the View to the World."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from slipway import manifests
from slipway.api import Model, ModelDeployment, ModelVersion
from slipway.api.reasons import Reason
from slipway.cache import View
from slipway.decision import Key, Target
from slipway.kinds import words
from slipway.kinds.model_deployment import objects
from slipway.kinds.model_deployment.world import Arm, Trial, Waiting, Wanted, World
from slipway.rollout.autoscale import Scaling

CHILDREN = ("Deployment", "ConfigMap", "PodDisruptionBudget")
IMAGE_WAITS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")


def observe(view: View, key: Key) -> World | None:
    manifest = view.objects.get(key.kind, key.namespace, key.name)
    if manifest is None:
        return None
    deployment = ModelDeployment.parse(manifest)
    uid = deployment.metadata.uid
    kept = view.objects.get("ConfigMap", key.namespace, objects.trial_name(key.name))
    return World(
        now=view.now,
        platform=view.platform,
        deployment=deployment,
        wanted=_wanted(view, deployment),
        arms={arm.revision.name: arm for arm in _arms(view, uid)},
        traffic=view.traffic,
        trial=Trial.parse(kept["data"]["trial.json"]) if kept is not None else None,
        scaling=view.memory.get(uid) or Scaling(),
    )


def references(resource: ModelDeployment) -> Iterable[Key]:
    """The Model it follows, the version it names or that the alias means, and those it runs."""
    namespace, spec = resource.metadata.namespace, resource.spec
    if spec.model_ref is not None:
        yield Key("Model", namespace, spec.model_ref.name)
    if spec.model_version_ref is not None:
        yield Key("ModelVersion", namespace, spec.model_version_ref.name)
    if resource.status.inputs is not None and resource.status.inputs.model_version is not None:
        yield Key("ModelVersion", namespace, resource.status.inputs.model_version.name)


def _wanted(view: View, deployment: ModelDeployment) -> Wanted | Waiting:
    namespace, spec = deployment.metadata.namespace, deployment.spec
    if spec.model_version_ref is not None:
        return _version(view, namespace, spec.model_version_ref.name, "")
    assert spec.model_ref is not None
    name, alias_name = spec.model_ref.name, spec.model_ref.alias
    manifest = view.objects.get("Model", namespace, name)
    if manifest is None:
        close = words.there_is("Model", name, _names(view, "Model", namespace))
        return Waiting(Reason.MODEL_NOT_FOUND, f"Waiting for Model {name}.{close}")
    model = Model.parse(manifest)
    alias = next((alias for alias in model.spec.aliases if alias.name == alias_name), None)
    if alias is None:
        there = words.listed([alias.name for alias in model.spec.aliases]) or "none"
        return Waiting(Reason.ALIAS_NOT_FOUND, f"Model {name} has no alias {alias_name}; it has {there}.")
    if alias.promoted is not None and alias.promoted.deployment_ref.name == deployment.metadata.name:
        return Waiting(
            Reason.ALIAS_LOOP,
            f"Alias {alias_name} of Model {name} is promoted by this deployment: follow another alias, "
            "or name a version.",
            stalled=True,
        )
    state = next((state for state in model.status.aliases if state.name == alias_name), None)
    if state is None or state.model_version_ref is None:
        why = (state.message or "").rstrip(".") if state is not None else ""
        return Waiting(
            Reason.ALIAS_EMPTY,
            f"Waiting: alias {alias_name} of Model {name} points to no version yet{f'; {why}' if why else ''}.",
        )
    return _version(view, namespace, state.model_version_ref.name, f"{alias_name} of Model {name} is ")


def _version(view: View, namespace: str, name: str, meaning: str) -> Wanted | Waiting:
    manifest = view.objects.get("ModelVersion", namespace, name)
    if manifest is None:
        close = words.there_is("ModelVersion", name, _names(view, "ModelVersion", namespace))
        return Waiting(Reason.MODEL_VERSION_NOT_FOUND, f"Waiting for ModelVersion {name}.{close}")
    version = ModelVersion.parse(manifest)
    status = version.status
    if status.phase in ("Rejected", "Failed"):
        return Waiting(
            Reason.MODEL_VERSION_UNUSABLE,
            f"ModelVersion {name} is {status.phase} and never served: {status.summary or 'see its status'}",
            stalled=True,
        )
    digest = status.digest or version.spec.digest
    uri = status.storage_uri or version.spec.storage_uri
    signature = version.spec.signature or status.signature
    if status.phase != "Ready" or digest is None or signature is None or status.examples is None:
        return Waiting(
            Reason.MODEL_VERSION_NOT_READY, f"Waiting for ModelVersion {name}, {status.phase or 'new'}."
        )
    return Wanted(
        model=objects.Model(name, digest, uri, status.examples.storage_uri),
        signature=signature.dump(),
        meaning=f"{meaning}{name}, Ready." if meaning else f"ModelVersion {name} is Ready.",
    )


def _names(view: View, kind: str, namespace: str) -> list[str]:
    return [manifest["metadata"]["name"] for manifest in view.objects.list(kind, namespace)]


def _arms(view: View, uid: str) -> Iterable[Arm]:
    owned = view.objects.owned(uid)
    deployments = {d["metadata"]["name"]: d for d in owned if d["kind"] == "Deployment"}
    for manifest in (manifest for manifest in owned if manifest["kind"] == "ControllerRevision"):
        metadata = manifest["metadata"]
        annotations = metadata.get("annotations") or {}
        deployment = deployments.get(metadata["name"])
        labels = {manifests.REVISION: metadata["name"], manifests.NAME: metadata["labels"][manifests.NAME]}
        pods = view.objects.list("Pod", metadata["namespace"], labels)
        outcome_time = annotations.get(objects.OUTCOME_TIME)
        yield Arm(
            revision=objects.read_revision(manifest),
            number=int(manifest["revision"]),
            record=_target(manifest),
            outcome=annotations.get(objects.OUTCOME),
            outcome_time=datetime.fromisoformat(outcome_time) if outcome_time else None,
            outcome_reason=annotations.get(objects.OUTCOME_REASON),
            deployment=_target(deployment) if deployment is not None else None,
            children=tuple(
                _target(child)
                for child in owned
                if child["kind"] in CHILDREN
                and child["metadata"]["labels"].get(manifests.REVISION) == metadata["name"]
            ),
            replicas=int(deployment["spec"].get("replicas", 1)) if deployment is not None else 0,
            ready=sum(_is_ready(pod) for pod in pods),
            pods=len(pods),
            trouble=next((said for pod in pods if (said := _trouble(pod)) is not None), None),
        )


def _target(manifest: Mapping[str, Any]) -> Target:
    metadata = manifest["metadata"]
    return Target(
        manifest["apiVersion"], manifest["kind"], metadata["namespace"], metadata["name"], metadata["uid"]
    )


def _is_ready(pod: Mapping[str, Any]) -> bool:
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _trouble(pod: Mapping[str, Any]) -> str | None:
    """What keeps a pod from answering, in a sentence; None: nothing, or it only takes its time."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"No node takes the pod: {(condition.get('message') or 'no reason given').rstrip('.')}."
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting") or {}
        ended = (container.get("state") or {}).get("terminated") or (container.get("lastState") or {}).get(
            "terminated"
        )
        name = container["name"]
        if waiting.get("reason") in IMAGE_WAITS:
            return f"{container['image']} can't be pulled."
        if waiting.get("reason") == "CreateContainerConfigError":
            return f"Container {name} can't be set up: {waiting.get('message')}."
        if ended and ended.get("exitCode"):
            how = f"{ended.get('reason', 'Error')}, exit code {ended['exitCode']}"
            return f"Container {name} ended ({how}): {_said(ended)}"
    return None


def _said(ended: Mapping[str, Any]) -> str:
    """The report's sentence, else the end of the log."""
    message = (ended.get("message") or "").strip()
    if message.startswith("{"):
        from_report = objects.failure_message(message)
        if from_report is not None:
            return from_report
    return message.splitlines()[-1][:300] if message else "it left no message."
