"""The cluster as the person at the keyboard sees it: their kubeconfig, their rights."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import kubernetes
import urllib3
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException

from slipway.api.meta import GROUP, VERSION

PLURALS = {
    "Dataset": "datasets",
    "TrainingRun": "trainingruns",
    "CompressionJob": "compressionjobs",
    "Model": "models",
    "ModelVersion": "modelversions",
    "ModelDeployment": "modeldeployments",
}
SHORT = {
    "Dataset": "dset",
    "TrainingRun": "trun",
    "CompressionJob": "cjob",
    "Model": "model",
    "ModelVersion": "mver",
    "ModelDeployment": "mdep",
}


class CliError(Exception):
    """Something the person can mend; the message says what and how."""


@dataclass(frozen=True)
class Cluster:
    custom: Any
    core: Any
    namespace: str

    @classmethod
    def connect(cls, namespace: str | None) -> "Cluster":
        try:
            kubernetes.config.load_kube_config()  # type: ignore[no-untyped-call]  # untyped
            context = kubernetes.config.list_kube_config_contexts()[1]  # type: ignore[no-untyped-call]  # untyped
        except ConfigException as error:
            raise CliError(f"no cluster to talk to: {error}. Set KUBECONFIG or choose a context.") from error
        return cls(
            custom=kubernetes.client.CustomObjectsApi(),
            core=kubernetes.client.CoreV1Api(),
            namespace=namespace or context["context"].get("namespace") or "default",
        )

    def get(self, kind: str, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self.custom.get_namespaced_custom_object(
                GROUP, VERSION, self.namespace, PLURALS[kind], name
            )
            return found
        except ApiException as error:
            raise said(error, f"{kind} {name} in namespace {self.namespace}") from error

    def annotate(self, kind: str, name: str, annotations: dict[str, str | None]) -> None:
        try:
            self.custom.patch_namespaced_custom_object(
                GROUP,
                VERSION,
                self.namespace,
                PLURALS[kind],
                name,
                {"metadata": {"annotations": annotations}},
            )
        except ApiException as error:
            raise said(error, f"{kind} {name} in namespace {self.namespace}") from error

    def watch(self, kind: str, seconds: int) -> Iterator[dict[str, Any]]:
        """Objects of a kind as they are and as they change, for so many seconds."""
        try:
            stream = kubernetes.watch.Watch().stream  # type: ignore[no-untyped-call]  # untyped
            for event in stream(  # type: ignore[no-untyped-call]  # untyped
                self.custom.list_namespaced_custom_object,
                GROUP,
                VERSION,
                self.namespace,
                PLURALS[kind],
                timeout_seconds=seconds,
            ):
                if event["type"] in ("ADDED", "MODIFIED"):
                    yield event["object"]
        except ApiException as error:
            if error.status != 410:  # the watch is too old: the caller starts it anew
                raise said(error, f"{PLURALS[kind]} in namespace {self.namespace}") from error
        except urllib3.exceptions.HTTPError:
            return  # connection lost: likewise


def said(error: ApiException, what: str) -> CliError:
    """The server's own sentence."""
    try:
        message = json.loads(error.body or "")["message"]
    except (TypeError, ValueError, KeyError):
        message = error.reason
    return CliError(f"{what}: {message}")
