"""ModelDeployment: from the View to the World."""

from collections.abc import Iterable, Mapping
from typing import Any

from slipway import api, manifests
from slipway.api.reasons import Reason
from slipway.cache import View
from slipway.decision import Key, Target
from slipway.kinds import attempts, lookup, words
from slipway.kinds.model_deployment import objects
from slipway.kinds.model_deployment.world import Arm, Trial, Waiting, Wanted, World
from slipway.rollout.autoscale import Scaling

CHILDREN = ("Deployment", "ConfigMap", "PodDisruptionBudget")


def observe(view: View, key: Key) -> World | None:
    deployment = lookup.read(view.objects, api.ModelDeployment, key.namespace, key.name)
    if deployment is None:
        return None
    uid = deployment.metadata.uid
    kept = view.objects.get("ConfigMap", key.namespace, objects.trial_name(key.name))
    return World(
        now=view.now,
        platform=view.platform,
        deployment=deployment,
        wanted=_wanted(view, deployment),
        arms={arm.name: arm for arm in _arms(view, uid)},
        traffic=view.traffic,
        trial=Trial.parse((kept.get("data") or {}).get("trial.json", "")) if kept is not None else None,
        scaling=view.memory.get(uid) or Scaling(),
    )


def references(deployment: api.ModelDeployment) -> Iterable[Key]:
    """The Model it follows, the version it names or that the alias means, and those it runs."""
    namespace, spec, status = deployment.metadata.namespace, deployment.spec, deployment.status
    if spec.model_ref is not None:
        yield Key("Model", namespace, spec.model_ref.name)
    if spec.model_version_ref is not None:
        yield Key("ModelVersion", namespace, spec.model_version_ref.name)
    if status.inputs is not None and status.inputs.model_version is not None:
        yield Key("ModelVersion", namespace, status.inputs.model_version.name)
    for revision in status.revisions:
        yield Key("ModelVersion", namespace, revision.model_version_ref.name)


def _wanted(view: View, deployment: api.ModelDeployment) -> Wanted | Waiting:
    namespace, spec = deployment.metadata.namespace, deployment.spec
    if spec.model_version_ref is not None:
        return _version(view, namespace, spec.model_version_ref.name)
    assert spec.model_ref is not None  # a rule of the CRD: exactly one of the two is set
    name, alias_name = spec.model_ref.name, spec.model_ref.alias
    model = lookup.other(view.objects, api.Model, namespace, name)
    if model is None:
        close = words.there_is("Model", name, lookup.names(view.objects, api.Model, namespace))
        return Waiting(Reason.MODEL_NOT_FOUND, f"Waiting for Model {name}.{close}")
    alias = next((alias for alias in model.spec.aliases if alias.name == alias_name), None)
    if alias is None:
        there = words.listed([alias.name for alias in model.spec.aliases]) or "none"
        return Waiting(
            Reason.ALIAS_NOT_FOUND, f"Waiting: Model {name} has no alias {alias_name}; it has {there}."
        )
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


def _version(view: View, namespace: str, name: str, meaning: str = "") -> Wanted | Waiting:
    version = lookup.other(view.objects, api.ModelVersion, namespace, name)
    if version is None:
        close = words.there_is("ModelVersion", name, lookup.names(view.objects, api.ModelVersion, namespace))
        return Waiting(Reason.MODEL_VERSION_NOT_FOUND, f"Waiting for ModelVersion {name}.{close}")
    status = version.status
    if status.phase in ("Rejected", "Failed"):
        return Waiting(
            Reason.MODEL_VERSION_UNUSABLE,
            f"ModelVersion {name} is {status.phase} and never served: {status.summary or 'see its status.'}",
            stalled=True,
        )
    digest = status.digest or version.spec.digest
    signature = version.spec.signature or status.signature
    if status.phase != "Ready" or digest is None or signature is None or status.examples is None:
        return Waiting(
            Reason.MODEL_VERSION_NOT_READY, f"Waiting for ModelVersion {name}, {status.phase or 'new'}."
        )
    uri = status.storage_uri or version.spec.storage_uri
    return Wanted(
        model=objects.Model(name, digest, uri, status.examples.storage_uri),
        signature=signature.dump(),
        meaning=f"{meaning}{name}, Ready." if meaning else f"ModelVersion {name} is Ready.",
    )


def _arms(view: View, uid: str) -> Iterable[Arm]:
    owned = view.objects.owned(uid)
    for record in (manifest for manifest in owned if manifest["kind"] == "ControllerRevision"):
        metadata = record["metadata"]
        name, labels = metadata["name"], metadata["labels"]
        children = [
            child
            for child in owned
            if child["kind"] in CHILDREN and child["metadata"]["labels"].get(manifests.REVISION) == name
        ]
        deployment = next((child for child in children if child["kind"] == "Deployment"), None)
        wanted = {manifests.REVISION: name, manifests.NAME: labels[manifests.NAME]}
        pods = [
            pod
            for pod in view.objects.list("Pod", metadata["namespace"], wanted)
            if "deletionTimestamp" not in pod["metadata"]
        ]
        ready = [pod for pod in pods if _is_ready(pod)]
        yield Arm(
            revision=objects.read_revision(record),
            number=int(record["revision"]),
            record=_target(record),
            outcome=objects.Outcome.read(metadata.get("annotations") or {}),
            children=tuple(map(_target, children)),
            replicas=int(deployment["spec"].get("replicas", 1)) if deployment is not None else 0,
            ready=len(ready),
            trouble=next((said for pod in pods if pod not in ready and (said := _trouble(pod))), None),
        )


def _target(manifest: Mapping[str, Any]) -> Target:
    metadata = manifest["metadata"]
    return Target(
        manifest["apiVersion"], manifest["kind"], metadata["namespace"], metadata["name"], metadata["uid"]
    )


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _trouble(pod: Mapping[str, Any]) -> str | None:
    """What keeps a pod from answering, in a sentence; None: nothing, or it only takes its time."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"No node takes the pod: {(condition.get('message') or 'no reason given').rstrip('.')}."
    containers = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    return next((said for container in containers if (said := _container_trouble(pod, container))), None)


def _container_trouble(pod: Mapping[str, Any], container: Mapping[str, Any]) -> str | None:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    said = (waiting.get("message") or "no reason given").rstrip(".")
    if waiting.get("reason") in attempts.IMAGE_WAITS:
        return f"{container['image']}: {attempts.image_fault(said)}."
    if waiting.get("reason") == "CreateContainerConfigError":
        return attempts.config_fault(dict(pod), said).message
    if ended.get("exitCode"):
        how = f"{ended.get('reason', 'Error')}, exit code {ended['exitCode']}"
        return f"Container {container['name']} ended ({how}): {_last_words(ended)}"
    return None


def _last_words(ended: Mapping[str, Any]) -> str:
    """The report's sentence, else the end of the log."""
    message = (ended.get("message") or "").strip()
    return objects.failure_message(message) or (message.splitlines()[-1][:300] if message else "no message.")
