"""Where an end-to-end test plays: objects are given, something happens, and what must follow is waited for.

A wait that runs out fails with what the object says, its events, its pods and the end of the operator's log.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from slipway_cluster import paths

Manifest = dict[str, Any]
NAMESPACE, RELEASE_NAMESPACE = "e2e", "slipway-system"
OPERATOR = "app.kubernetes.io/component=operator"
CLUSTER = Path(__file__).parent / "cluster" / "slipway-cluster"
MANAGED = "app.kubernetes.io/managed-by=slipway"
STORE = "deployment/slipway-store"
ENDS = ("Rejected", "Failed")
"""Phases that never change again in kinds that run once."""
OURS = "mdep,cjob,trun,model,mver,dset"
CHILDREN = "job,pod,deployment,configmap,service,poddisruptionbudget,networkpolicy,controllerrevision"
PAUSE_SECONDS = 0.5


@dataclass
class Stage:
    kubectl: str
    kubeconfig: Path
    applied: list[str] = field(default_factory=list)
    operator_logs: list[str] = field(default_factory=list)
    """Of leaders that a test has killed; Kubernetes forgets them with the pod."""
    killed: set[str] = field(default_factory=set)

    # --- kubectl ---

    def run(
        self, *words: str, stdin: str | None = None, namespace: str = NAMESPACE, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        command = [self.kubectl, f"--kubeconfig={self.kubeconfig}", f"--namespace={namespace}", *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout)

    def __call__(self, *words: str, stdin: str | None = None, namespace: str = NAMESPACE) -> str:
        done = self.run(*words, stdin=stdin, namespace=namespace)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def find(self, what: str, *words: str, namespace: str = NAMESPACE) -> list[Manifest]:
        found: list[Manifest] = json.loads(self("get", what, *words, "-o", "json", namespace=namespace))[
            "items"
        ]
        return found

    def get(self, kind: str, name: str, namespace: str = NAMESPACE) -> Manifest | None:
        done = self.run("get", f"{kind}/{name}", "-o", "json", "--ignore-not-found", namespace=namespace)
        assert done.returncode == 0, done.stderr
        found: Manifest | None = json.loads(done.stdout) if done.stdout else None
        return found

    def slipway(self, *words: str) -> str:
        """kubectl slipway, as a person types it."""
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{Path(self.kubectl).parent}:{os.environ['PATH']}",
        }
        program = str(Path(sys.executable).with_name("kubectl-slipway"))
        done = subprocess.run(
            [program, *words, "-n", NAMESPACE], capture_output=True, text=True, timeout=300, env=environment
        )
        assert done.returncode == 0, f"kubectl slipway {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    # --- given ---

    def given(self, *manifests: Manifest) -> None:
        """Objects that the test's end removes, newest first."""
        for manifest in manifests:
            self.applied.append(f"{manifest['kind'].lower()}/{manifest['metadata']['name']}")
            self.apply(manifest)

    def apply(self, manifest: Manifest) -> None:
        self(
            "apply",
            "--server-side",
            "--force-conflicts",
            "--validate=strict",
            "-f",
            "-",
            stdin=json.dumps(manifest),
        )

    def accepted(self, manifest: Manifest) -> None:
        done = self._try(manifest)
        assert done.returncode == 0, done.stderr

    def refused(self, manifest: Manifest) -> str:
        """What is said to the person who applies it."""
        done = self._try(manifest)
        assert done.returncode != 0, f"{manifest['kind']} was accepted: {json.dumps(manifest['spec'])}"
        return done.stderr

    def _try(self, manifest: Manifest) -> subprocess.CompletedProcess[str]:
        words = ("apply", "--dry-run=server", "--validate=strict", "-f", "-")
        return self.run(*words, stdin=json.dumps(manifest))

    def patch(self, kind: str, name: str, spec: Manifest) -> None:
        self("patch", f"{kind}/{name}", "--type=merge", "-p", json.dumps({"spec": spec}))

    def annotate(self, kind: str, name: str, **acts: str | None) -> None:
        """retry="1" sets slipway.dev/retry; None removes it."""
        words = [
            f"slipway.dev/{act}-" if value is None else f"slipway.dev/{act}={value}"
            for act, value in acts.items()
        ]
        self("annotate", "--overwrite", f"{kind}/{name}", *words)

    def clean(self) -> None:
        """Whatever the test gave, and the versions that its runs made."""
        names = [name for _, _, name in (entry.partition("/") for entry in self.applied)]
        versions = [f"modelversion/{name}" for name in dict.fromkeys(names)]
        objects = list(dict.fromkeys([*reversed(self.applied), *versions]))
        self.applied.clear()
        if objects:
            self("delete", "--ignore-not-found", "--wait=false", *objects)
            for name in objects:
                self("wait", "--for=delete", name, "--timeout=90s")

    # --- then ---

    def until(
        self, kind: str, name: str, what: str, done: Callable[[Manifest], bool], *, seconds: float = 240
    ) -> Manifest:
        """The object once it is `done`; `what` says in words what is waited for."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.get(kind, name)
            if found is not None and done(found):
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"{kind} {name}: not in {seconds:g}s: {what}\n{self.story(kind, name)}")
            time.sleep(PAUSE_SECONDS)

    def reaches(self, kind: str, name: str, phase: str, *, seconds: float = 240) -> Manifest:
        """The object in that phase; at once a failure where it ends in another one."""

        def done(found: Manifest) -> bool:
            current, seen = status(found), found["metadata"]["generation"]
            now = current.get("phase")
            ended = now in ENDS and current.get("observedGeneration") == seen
            assert not (ended and now != phase), f"{kind} {name} is {now}\n{self.story(kind, name)}"
            return now == phase and current.get("observedGeneration") == seen

        return self.until(kind, name, f"phase {phase}", done, seconds=seconds)

    def says(self, kind: str, name: str, type_: str, value: str, reason: str, *, seconds: float = 120) -> str:
        """The message of a condition once it has that status and reason."""

        def done(found: Manifest) -> bool:
            told = condition(found, type_)
            return (told.get("status"), told.get("reason")) == (value, reason)

        found = self.until(kind, name, f"{type_}={value}, {reason}", done, seconds=seconds)
        return str(condition(found, type_)["message"])

    def story(self, kind: str, name: str) -> str:
        """What there is to know about an object, for whoever reads the failure."""
        found = self.get(kind, name)
        told = json.dumps(status(found), indent=1) if found else "not there"
        events = self.run("events", f"--for={kind}/{name}").stdout
        pods = self.run("get", "pods", "-o", "wide").stdout
        log = self.run("logs", "-l", OPERATOR, "--tail=25", "--prefix", namespace=RELEASE_NAMESPACE).stdout
        return f"status: {told}\n\nevents:\n{events}\npods:\n{pods}\noperator:\n{log}"

    def pods(self, owner: str, kind: str | None = None) -> list[Manifest]:
        """Pods of one of our objects."""
        selector = f"slipway.dev/name={owner}" + (f",slipway.dev/kind={kind}" if kind else "")
        return self.find("pods", "-l", selector)

    # --- when something breaks ---

    def leader(self) -> str:
        """The name of the pod that holds the Lease; empty between two."""
        lease = self.get("lease", "slipway-operator", RELEASE_NAMESPACE)
        return str(lease["spec"].get("holderIdentity") or "") if lease is not None else ""

    def wait_for_leader(self, seconds: float, other_than: str = "") -> str:
        deadline = time.monotonic() + seconds
        while (
            not (name := self.leader())
            or name == other_than
            or self.get("pod", name, RELEASE_NAMESPACE) is None
        ):
            assert time.monotonic() < deadline, f"no replica of the operator leads within {seconds:g}s"
            time.sleep(PAUSE_SECONDS)
        return name

    def end_leader(self, *, crash: bool = False) -> None:
        """Delete its pod: it lets the Lease go. Or crash: its process is killed, and the Lease has to run out."""
        name = self.wait_for_leader(60)
        self.operator_logs.append(self("logs", name, namespace=RELEASE_NAMESPACE))
        self.killed.add(name)
        began = time.monotonic()
        if crash:
            self._kill(name)
            self.wait_until_led_since(now())
        else:
            self("delete", "pod", name, "--grace-period=0", "--force", namespace=RELEASE_NAMESPACE)
            self.wait_for_leader(90, other_than=name)
        how = "crashed" if crash else "deleted"
        print(f"leader {how}; led again after {time.monotonic() - began:.1f}s", flush=True)

    def wait_until_led_since(self, crash: datetime, seconds: float = 90) -> None:
        """By the standby, or by the same pod where its new container was faster than the Lease's end."""
        deadline = time.monotonic() + seconds
        while True:
            lease = self.get("lease", "slipway-operator", RELEASE_NAMESPACE)
            assert lease is not None
            if (
                lease["spec"].get("holderIdentity")
                and datetime.fromisoformat(lease["spec"]["renewTime"]) > crash
            ):
                return
            assert time.monotonic() < deadline, f"nobody leads within {seconds:g}s"
            time.sleep(PAUSE_SECONDS)

    def _kill(self, pod: str) -> None:
        """A process can't be killed by kubectl; the bare machine's node can be entered."""
        cluster = self.kubeconfig.parent
        if cluster.parent != paths.clusters():
            pytest.skip("only on the bare-machine cluster can a test kill a process of the operator")
        on_node = [str(CLUSTER), "enter", "--name", cluster.name, "--", "crictl", "--timeout=10s"]
        only = ["--label", f"io.kubernetes.pod.name={pod}", "--quiet"]
        found = subprocess.run(
            [*on_node, "ps", *only], capture_output=True, text=True, check=True
        ).stdout.split()
        subprocess.run([*on_node, "stop", "--timeout=0", *found], capture_output=True, check=True, timeout=60)

    @contextmanager
    def store_down(self) -> Iterator[None]:
        self.scale_store(0)
        try:
            yield
        finally:
            self.scale_store(1)

    def scale_store(self, replicas: int) -> None:
        self("scale", STORE, f"--replicas={replicas}", namespace=RELEASE_NAMESPACE)
        self("rollout", "status", STORE, "--timeout=90s", namespace=RELEASE_NAMESPACE)

    def operator_log(self, since: datetime) -> list[Manifest]:
        """Every line that a replica logged since then."""
        texts = [*self.operator_logs]
        for pod in self.find("pods", "-l", OPERATOR, namespace=RELEASE_NAMESPACE):
            name = pod["metadata"]["name"]
            texts.append(self("logs", name, namespace=RELEASE_NAMESPACE))
            texts.append(self.run("logs", name, "--previous", namespace=RELEASE_NAMESPACE).stdout)
        lines = [line for text in texts for line in text.splitlines()]
        parsed = [
            json.loads(line) if line.startswith("{") else {"level": "error", "message": line}
            for line in lines
        ]
        return [
            line for line in parsed if "time" not in line or datetime.fromisoformat(line["time"]) >= since
        ]


def status(manifest: Manifest) -> Manifest:
    found: Manifest = manifest.get("status") or {}
    return found


def condition(manifest: Manifest, type_: str) -> Manifest:
    return next((told for told in status(manifest).get("conditions") or () if told["type"] == type_), {})


def stands(manifest: Manifest, **expected: str) -> None:
    """stands(run, Succeeded="True", Stalled="False"): its conditions, and that it has seen its spec."""
    assert status(manifest)["observedGeneration"] == manifest["metadata"]["generation"]
    found = {type_: condition(manifest, type_).get("status") for type_ in expected}
    assert found == expected, json.dumps(status(manifest), indent=1)


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  (the rule is for decisions)
