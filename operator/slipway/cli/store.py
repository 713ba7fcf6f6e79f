"""Upload and download through a short-lived pod: credentials of the store stay in the cluster."""

import json
import shutil
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from kubernetes.client.exceptions import ApiException

from slipway import manifests
from slipway.cli.cluster import CliError, Cluster, answered

INFO = "slipway-info"
"""ConfigMap that the chart puts into each of its namespaces; names the image."""
START_SECONDS = 120


def push(cluster: Cluster, source: Path, target: str, image: str | None) -> str:
    folder, members = (source, ".") if source.is_dir() else (source.parent, source.name)
    uri = _path(target)
    command = ["tar", "--create", "--dereference", "--file=-", f"--directory={folder}", members]
    with _Pod(cluster, image) as pod, subprocess.Popen(command, stdout=subprocess.PIPE) as tar:
        assert tar.stdout is not None
        try:
            result = pod.run("receive", uri, stdin=tar.stdout)
        finally:
            tar.stdout.close()  # if nobody reads any more, tar has to end
    if tar.returncode != 0:
        raise CliError(f"tar could not read {source} (exit code {tar.returncode})")
    return result


def pull(cluster: Cluster, source: str, target: Path, image: str | None) -> str:
    uri = _path(source)
    command = ["tar", "--extract", "--file=-", f"--directory={target}"]
    # tar's complaint about a stream that failed is worth nothing beside the reason of the failure.
    with _Pod(cluster, image) as pod, TemporaryFile() as complaint:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=complaint) as tar:
            result = pod.run("send", uri, stdout=tar.stdin)
        if tar.returncode != 0:
            complaint.seek(0)
            raise CliError(
                f"tar could not write to {target}: {complaint.read().decode(errors='replace').strip()}"
            )
    return result


def _path(uri: str) -> str:
    if not uri.startswith("store://") or len(uri) == len("store://"):
        raise CliError(f"{uri}: name a path in the namespace's store, such as store://datasets/mine/")
    return uri


class _Pod:
    """A pod with the store's credentials, for as long as the block runs."""

    def __init__(self, cluster: Cluster, image: str | None) -> None:
        self.cluster, self.image = cluster, image
        self.name = f"slipway-copy-{time.time_ns() % 10**10}"
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            raise CliError("kubectl isn't on PATH; the copy goes through kubectl exec")
        self.kubectl = kubectl

    def __enter__(self) -> "_Pod":
        namespace = self.cluster.namespace
        image = self.image or self._image()
        with answered(f"pod {self.name} in namespace {namespace}"):
            self.cluster.core.create_namespaced_pod(namespace, _manifest(self.name, namespace, image))
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with answered(f"pod {self.name} in namespace {self.cluster.namespace}: can't be deleted"):
            self.cluster.core.delete_namespaced_pod(self.name, self.cluster.namespace, grace_period_seconds=0)

    def run(self, task: str, uri: str, stdin: Any = None, stdout: Any = subprocess.PIPE) -> str:
        """Run a task in the pod; what it says it has done."""
        command = [self.kubectl, "exec", "-n", self.cluster.namespace, self.name, "-c", "copy"]
        done = subprocess.run(
            [*command, *(["-i"] if stdin is not None else []), "--", "slipway-jobs", task, uri],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
        )
        errors = done.stderr.decode(errors="replace").strip().splitlines()
        if done.returncode != 0:
            raise CliError("; ".join(errors[-3:]) or f"{task} ended with exit code {done.returncode}")
        said = (done.stdout or b"").decode(errors="replace").strip().splitlines() or errors
        return said[-1] if said else f"{task} {uri}: done"

    def _image(self) -> str:
        namespace = self.cluster.namespace
        with answered(f"ConfigMap {INFO} in namespace {namespace}"):
            try:
                found: str = self.cluster.core.read_namespaced_config_map(INFO, namespace).data[
                    "operatorImage"
                ]
                return found
            except ApiException as error:
                if error.status != 404:
                    raise
                self.cluster.require_namespace()
                raise CliError(
                    f"namespace {namespace} isn't among the chart's `namespaces`, so there is no ConfigMap {INFO}: "
                    "add it there, or name the operator's image with --image"
                ) from error

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        unscheduled = ""
        while time.monotonic() < deadline:
            with answered(f"pod {self.name} in namespace {self.cluster.namespace}"):
                status = self.cluster.core.read_namespaced_pod_status(
                    self.name, self.cluster.namespace
                ).status
            if status.phase == "Running":
                return
            for condition in status.conditions or ():
                if condition.type == "PodScheduled" and condition.status == "False":
                    unscheduled = f": {condition.message}"
            for container in status.container_statuses or ():
                waiting = container.state.waiting
                if waiting is not None and waiting.reason not in (
                    None,
                    "ContainerCreating",
                    "PodInitializing",
                ):
                    raise CliError(f"the copy pod can't start: {waiting.reason}: {waiting.message}")
            time.sleep(0.3)
        raise CliError(f"the copy pod {self.name} didn't start within {START_SECONDS} s{unscheduled}")


def _manifest(name: str, namespace: str, image: str) -> dict[str, Any]:
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/part-of": "slipway"},
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": 3600,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": manifests.pod_security_context(),
            "containers": [
                {
                    "name": "copy",
                    "image": image,
                    "command": ["sleep", "3600"],
                    "env": [*manifests.store_env(), {"name": "HOME", "value": "/tmp"}],
                    "securityContext": manifests.container_security_context(),
                    "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "20Gi"}}],
        },
    }
    found: dict[str, Any] = json.loads(json.dumps(manifest))
    return found
