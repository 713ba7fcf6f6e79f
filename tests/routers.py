"""Routers and kubelets for the cluster in memory: what serves answers as a script says.

    cluster = Serving()
    cluster.script["fashion-cnn-v2"] = Script(slow=0.31)
    cluster.create(...)
    cluster.tick(30)                     # thirty seconds, a look of routers and kubelets in each

Weights, evidence and rates go through the real plan, Acks and Ledger; only Envoy's counting is made up, and
evenly: no randomness, so each run is the same.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from cluster import PLATFORM, Cluster
from slipway import api
from slipway.adapters.kube import NotFound
from slipway.decision import Key
from slipway.engine import Engine
from slipway.kinds.model_deployment import CONTROLLER
from slipway.router import plan
from slipway.router.acks import Acks
from slipway.router.ledger import Ledger
from slipway.router.scrape import Scrape
from slipway.router.traffic import Counters, SelfTest, Traffic
from slipway.settings import Platform

FAST_MS, SLOW_MS = 2.4, 31.0
"""Upper edges of the two buckets that requests fall into: about 2 ms, and over 25 ms."""


@dataclass
class Script:
    """How a version behaves."""

    errors: float = 0.0
    slow: float = 0.008
    starts: bool = True
    pod_status: dict[str, Any] | None = None
    """Of a pod that doesn't start."""
    self_test: str | None = None
    """What is wrong with its answers."""


@dataclass
class _Counted:
    total: float = 0.0
    bad: float = 0.0
    slow: float = 0.0

    def counters(self) -> Counters:
        # A hair more than the fraction, so that 0.1 ten times is 1.
        total, bad, slow = (int(value + 1e-6) for value in (self.total, self.bad, self.slow))
        latency = ((FAST_MS, total - slow), (SLOW_MS, slow))
        return Counters(total, bad, 0, tuple(pair for pair in latency if pair[1]))


@dataclass
class Routers:
    """Two of them, which take a weight `delay` rounds after it is in status."""

    requests_per_s: float = 120.0
    delay: int = 1
    names: tuple[str, ...] = ("router-a", "router-b")
    skew: float = 1.0
    """The canary gets this times the requests that are asked for it."""
    traffic: Traffic = field(default_factory=Traffic)
    _held: dict[str, int] = field(default_factory=dict)
    _asked: list[dict[str, int]] = field(default_factory=list)
    _counted: dict[str, _Counted] = field(default_factory=dict)
    _acks: Acks = field(default_factory=Acks)
    _ledger: Ledger | None = None
    _tests: dict[str, SelfTest] = field(default_factory=dict)

    def round(self, cluster: "Serving", seconds: float) -> set[Key]:
        """A second of traffic and one reading of it; the keys that there is news for."""
        routes = plan.routes(cluster.list("ModelDeployment"), cluster.list("Pod"))
        asked = {route.cluster(arm): arm.weight for route in routes for arm in route.arms}
        self._asked.append(asked)
        before = (dict(self._acks.acked), dict(self._tests))
        # What came in this round came by the weights of the round before.
        self._serve(cluster, seconds)
        if self._ledger is None:
            self._ledger = Ledger(cluster.now - timedelta(seconds=seconds))
        scrape = Scrape(
            int((cluster.now - cluster.began).total_seconds()) + 1,
            {key: counted.counters() for key, counted in self._counted.items()},
        )
        self._ledger.record(cluster.now, {"router-a": scrape} if self.names else {}, self._acks.weights)
        self._held = self._asked[max(0, len(self._asked) - 1 - self.delay)] if self.names else self._held
        self._acks.update(cluster.now, asked, [self._held for _ in self.names])
        self._test(cluster, routes)
        self.traffic = Traffic(
            epoch="one",
            routers=self.names,
            acked=dict(self._acks.acked),
            acked_at=dict(self._acks.since),
            counters=dict(self._ledger.totals),
            intervals=self._ledger.intervals(),
            rates=self._ledger.rates(),
            scraped_at=cluster.now if self.names else None,
            self_tests=dict(self._tests),
        )
        changed = {key for key, weight in self._acks.acked.items() if before[0].get(key) != weight}
        changed |= {key for key, test in self._tests.items() if before[1].get(key) != test}
        return {Key("ModelDeployment", *key.split("/")[:2]) for key in changed}

    def _serve(self, cluster: "Serving", seconds: float) -> None:
        canaries = {key for key, weight in self._held.items() if 0 < weight < 100 and weight <= 50}
        for key, weight in self._held.items():
            count = self.requests_per_s * seconds * weight / 100
            if self.skew != 1.0 and 0 < weight < 100:
                extra = self.requests_per_s * seconds * (self.skew - 1) * min(weight, 100 - weight) / 100
                count += extra if key in canaries else -extra
            script = cluster.script_of(key)
            counted = self._counted.setdefault(key, _Counted())
            counted.total += count
            counted.bad += count * script.errors
            counted.slow += count * script.slow

    def _test(self, cluster: "Serving", routes: tuple[Any, ...]) -> None:
        routed = {route.cluster(arm): arm for route in routes for arm in route.arms}
        self._tests = {key: test for key, test in self._tests.items() if key in routed}
        for key, arm in routed.items():
            if arm.self_test and key not in self._tests and self.names:
                wrong, revision = cluster.script_of(key).self_test, key.rpartition("/")[2]
                said = wrong or "gives the recorded answer to example 0."
                self._tests[key] = SelfTest(wrong is None, f"{revision} {said}", cluster.now)


class Serving(Cluster):
    """A cluster whose Deployments get pods, with routers before them."""

    def __init__(self, platform: Platform = PLATFORM) -> None:
        self.routers = Routers()
        self.script: dict[str, Script] = {}
        """By version; others are healthy."""
        super().__init__([CONTROLLER], {"ModelDeployment": api.ModelDeployment.parse}, platform)
        self.began = self.now

    def tick(self, seconds: float = 1.0) -> None:
        """Time goes by; each second kubelets and routers do their part, and the operator what follows."""
        for _ in range(int(seconds)):
            self.second()
            self.settle()

    def second(self, length: float = 1.0) -> None:
        """One round; the operator has yet to answer it."""
        self.advance(length)
        self._kubelets()
        for key in self.routers.round(self, length):
            self._waiting.setdefault(key)

    def script_of(self, key: str) -> Script:
        """Of the revision <namespace>/<mdep>/<revision>."""
        namespace, _, revision = key.split("/")
        try:
            record = self.get("ControllerRevision", namespace, revision)
        except NotFound:
            return Script()
        return self.script.get(record["data"]["model"]["name"], Script())

    def upgrade(self, platform: Platform) -> None:
        """Another release of the operator begins."""
        self._platform = platform
        self.restart()

    def _start(self) -> Engine:
        engine = super()._start()
        engine.traffic = lambda: self.routers.traffic
        return engine

    def _kubelets(self) -> None:
        deployments = {
            (d["metadata"]["namespace"], d["metadata"]["name"]): d for d in self.list("Deployment")
        }
        for pod in self.list("Pod"):
            place = (pod["metadata"]["namespace"], pod["metadata"]["labels"]["slipway.dev/revision"])
            index = int(pod["metadata"]["name"].rpartition("-")[2])
            if place not in deployments or index >= deployments[place]["spec"]["replicas"]:
                self.delete("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])
        for (namespace, name), deployment in deployments.items():
            owner = deployment["metadata"]["labels"]["slipway.dev/name"]
            script = self.script_of(f"{namespace}/{owner}/{name}")
            for index in range(deployment["spec"]["replicas"]):
                self._pod(namespace, f"{name}-{index}", deployment, script)

    def _pod(self, namespace: str, name: str, deployment: dict[str, Any], script: Script) -> None:
        if ("Pod", namespace, name) not in self.store.objects:
            template = deployment["spec"]["template"]
            self.create({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": namespace, "labels": template["metadata"]["labels"]},
                "spec": template["spec"],
            })  # fmt: skip
        ready = "True" if script.starts else "False"
        running = {
            "phase": "Running",
            "podIP": f"10.0.0.{len(name) + int(name[-1])}",
            "conditions": [{"type": "Ready", "status": ready}],
        }
        wanted = script.pod_status if script.pod_status is not None and not script.starts else running
        if self.get("Pod", namespace, name).get("status") != wanted:
            self.set_status("Pod", namespace, name, wanted)
