"""What Slipway needs of a cluster, tried on the one at hand.

The pods' image is localhost/busybox:1, which the bare-machine cluster has; load it elsewhere before.
"""

import json
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

IMAGE = "localhost/busybox:1"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


class Smoke:
    """kubectl in a namespace of its own, which enforces restricted pods."""

    def __init__(self, kubectl: str, kubeconfig: Path) -> None:
        self.namespace = f"slipway-smoke-{os.getpid()}"
        self.words = [kubectl, f"--kubeconfig={kubeconfig}", f"--namespace={self.namespace}"]

    def run(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.words, *words], input=stdin, capture_output=True, text=True, timeout=120)

    def __call__(self, *words: str, stdin: str | None = None) -> str:
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def apply(self, manifest: dict[str, Any]) -> None:
        self("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))

    def get(self, what: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("get", what, "-o", "json"))
        return found

    def finish(self, pod: dict[str, Any], phase: str = "Succeeded") -> str:
        """Run a pod to its end; its log."""
        name = pod["metadata"]["name"]
        self.apply(pod)
        self("wait", f"--for=jsonpath={{.status.phase}}={phase}", f"pod/{name}", "--timeout=60s")
        return self("logs", name)


@pytest.fixture(scope="module")
def smoke(kubectl: str, kubeconfig: Path) -> Iterator[Smoke]:
    smoke = Smoke(kubectl, kubeconfig)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    smoke.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": smoke.namespace, "labels": labels}}
    )
    yield smoke
    smoke("delete", "namespace", smoke.namespace, "--wait=false")


@pytest.fixture(scope="module")
def web(smoke: Smoke) -> str:
    """The name of a Service with a pod behind it that answers `hello`."""
    smoke.apply(pod("web", "cd /data; echo hello > index.html; exec httpd -f -p 8080", labels={"app": "web"}))
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    smoke.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "greeter"}, "spec": spec})
    smoke("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    return "greeter"


def pod(
    name: str,
    script: str,
    labels: dict[str, str] | None = None,
    claim: str | None = None,
    memory: str = "64Mi",
) -> dict[str, Any]:
    """A restricted pod that runs a script, with a writable /data: empty, or on a claim."""
    data = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
        "resources": {"limits": {"memory": memory}},
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {
            "containers": [container],
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumes": [{"name": "data", **data}],
        },
    }


def test_a_restricted_pod_runs_as_its_user(smoke: Smoke) -> None:
    log = smoke.finish(pod("restricted", "id -u; grep -E '^(CapEff|Seccomp):' /proc/self/status"))

    assert log.split() == ["65532", "CapEff:", "0000000000000000", "Seccomp:", "2"]


def test_a_pod_that_may_become_root_is_refused(smoke: Smoke) -> None:
    rootly = pod("rootly", "id")
    del rootly["spec"]["securityContext"]["runAsNonRoot"]

    refused = smoke.run("apply", "--server-side", "-f", "-", stdin=json.dumps(rootly))

    assert "violates PodSecurity" in refused.stderr


def test_a_pod_reaches_a_service_by_its_name(smoke: Smoke, web: str) -> None:
    # A pod that starts before kube-proxy has seen the Service gets refused: clients retry.
    script = (
        "for i in 1 2 3 4 5; do wget -qO- http://{0}.{1}.svc.cluster.local && exit; sleep 1; done; exit 1"
    )

    assert smoke.finish(pod("client", script.format(web, smoke.namespace))) == "hello\n"


def test_the_machine_reaches_a_service_by_its_address(smoke: Smoke, web: str) -> None:
    server = smoke("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    if not re.fullmatch(r"https://10\.\d+\.255\.6:6443", server):
        pytest.skip("only the bare-machine cluster routes its Services to the machine")
    address = smoke.get(f"service/{web}")["spec"]["clusterIP"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{address}/", timeout=5) as answer:
        assert answer.read() == b"hello\n"


def test_logs_and_exec_reach_a_running_pod(smoke: Smoke, web: str) -> None:
    smoke("exec", "web", "--", "sh", "-c", "echo said aloud > /proc/1/fd/1")

    assert smoke("logs", "web") == "said aloud\n"


def test_a_claim_is_bound_and_keeps_what_a_pod_wrote(smoke: Smoke) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    smoke.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "kept"}, "spec": spec}
    )
    smoke.finish(pod("writer", "echo 42 > /data/number", claim="kept"))

    assert smoke.finish(pod("reader", "cat /data/number", claim="kept")) == "42\n"
    assert smoke.get("pvc/kept")["status"]["phase"] == "Bound"


def test_a_container_over_its_memory_is_seen_as_killed_with_its_last_words(smoke: Smoke) -> None:
    script = "echo -n step 3 of 9 > /dev/termination-log; exec tail /dev/zero"
    smoke.finish(pod("greedy", script, memory="32Mi"), phase="Failed")

    ended = smoke.get("pod/greedy")["status"]["containerStatuses"][0]["state"]["terminated"]

    assert (ended["reason"], ended["exitCode"], ended["message"]) == ("OOMKilled", 137, "step 3 of 9")


def test_the_metrics_api_answers_for_the_node(smoke: Smoke) -> None:
    deadline = time.monotonic() + 60  # it needs two readings, 15 s apart, after a start
    while (top := smoke.run("top", "node", "--no-headers")).returncode and time.monotonic() < deadline:
        time.sleep(3)

    assert top.returncode == 0, top.stderr
    _, cpu, *_ = top.stdout.split()
    assert cpu.endswith("m")
    assert int(cpu.removesuffix("m")) > 0
