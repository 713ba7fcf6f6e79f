"""The cluster as the person at the keyboard sees it: their kubeconfig, their rights."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
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
KINDS = {name.lower(): kind for kind in SHORT for name in (kind, SHORT[kind], PLURALS[kind])}
"""Every way to write a kind."""
LISTED_NAMES = 8

Manifest = dict[str, Any]


class CliError(Exception):
    """Something the person can mend; the message says what and how."""


class NoConnection(CliError):
    """No answer, or a lost one: may pass."""


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
            raise CliError(
                f"no cluster to talk to: {str(error).rstrip('.')}. Set KUBECONFIG or choose a context."
            ) from error
        return cls(
            custom=kubernetes.client.CustomObjectsApi(),
            core=kubernetes.client.CoreV1Api(),
            namespace=namespace or context["context"].get("namespace") or "default",
        )

    def get(self, kind: str, name: str) -> Manifest:
        what = f"{kind} {name} in namespace {self.namespace}"
        with answered(what):
            try:
                found: Manifest = self.custom.get_namespaced_custom_object(*self._place(kind), name)
                return found
            except ApiException as error:
                if error.status == 404 and not _not_installed(error):
                    raise CliError(f"there is no {what}; {self._others(kind)}") from error
                raise

    def annotate(self, kind: str, name: str, annotations: dict[str, str | None]) -> None:
        body = {"metadata": {"annotations": annotations}}
        with answered(f"{kind} {name} in namespace {self.namespace}"):
            self.custom.patch_namespaced_custom_object(*self._place(kind), name, body)

    def list(self, kind: str) -> tuple[list[Manifest], str]:
        """Objects of a kind, and the resourceVersion to watch from."""
        with answered(f"{PLURALS[kind]} in namespace {self.namespace}"):
            found = self.custom.list_namespaced_custom_object(*self._place(kind))
        return found["items"], found["metadata"]["resourceVersion"]

    def watch(self, kind: str, version: str, seconds: int) -> Iterator[tuple[str, Manifest]]:
        """What becomes of a kind's objects from there on: ADDED, MODIFIED or DELETED, for so many seconds."""
        stream = kubernetes.watch.Watch().stream  # type: ignore[no-untyped-call]  # untyped
        with answered(f"{PLURALS[kind]} in namespace {self.namespace}"):
            for event in stream(  # type: ignore[no-untyped-call]  # untyped
                self.custom.list_namespaced_custom_object,
                *self._place(kind),
                resource_version=version,
                timeout_seconds=seconds,
            ):
                if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
                    yield event["type"], event["object"]

    def require_namespace(self) -> None:
        """Lists of a namespace that isn't there are empty, without a word."""
        with answered(f"namespace {self.namespace}"):
            try:
                self.core.read_namespace(self.namespace)
            except ApiException as error:
                if error.status == 404:
                    raise CliError(f"there is no namespace {self.namespace}: name one with -n") from error
                if error.status != 403:  # may not look at namespaces, and may well work in this one
                    raise

    def _place(self, kind: str) -> tuple[str, str, str, str]:
        return GROUP, VERSION, self.namespace, PLURALS[kind]

    def _others(self, kind: str) -> str:
        names = sorted(manifest["metadata"]["name"] for manifest in self.list(kind)[0])
        if not names:
            return f"that namespace has no {kind} at all: name another one with -n"
        more = f" and {len(names) - LISTED_NAMES} more" if len(names) > LISTED_NAMES else ""
        return f"it has {', '.join(names[:LISTED_NAMES])}{more}"


@contextmanager
def answered(what: str) -> Iterator[None]:
    """The server's own sentence about a failure, or one about its absence."""
    try:
        yield
    except ApiException as error:
        raise said(error, what) from error
    except urllib3.exceptions.HTTPError as error:
        raise NoConnection(f"{what}: no answer from the cluster: {_cause(error)}") from error


def said(error: ApiException, what: str) -> CliError:
    if _not_installed(error):
        return CliError("Slipway isn't installed in this cluster: it doesn't know Slipway's kinds")
    if error.status == 410:  # what was to be watched from is too long ago
        return NoConnection(f"{what}: {error.reason}")
    if error.status == 401:
        return CliError("the cluster doesn't take these credentials (401): log in again, or choose a context")
    try:
        message = json.loads(error.body or "")["message"]
    except (TypeError, ValueError, KeyError):
        message = error.reason
    return CliError(f"{what}: {message}")


def _not_installed(error: ApiException) -> bool:
    """A path that the server doesn't serve is answered in plain text, an object that isn't there as a Status."""
    try:
        return error.status == 404 and "details" not in json.loads(error.body or "")
    except ValueError:
        return True


def _cause(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or error).partition(": ")[2] or str(error)
