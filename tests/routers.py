"""Routers and kubelets for the cluster in memory: what serves answers as a script says.

    cluster = Serving()
    cluster.script["fashion-cnn-v2"] = Script(slow=0.31)
    cluster.deploy("fashion-cnn-v1", **CANARY)
    cluster.tick(30)                     # thirty seconds, a look of routers and kubelets in each

Weights, evidence and rates go through the real plan, Acks and Ledger; only Envoy's counting is made up, and
evenly: no randomness, so each run is the same.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any

import make
from cluster import PLATFORM, Answer, Cluster, Connection
from slipway import api
from slipway.adapters.kube import NotFound
from slipway.cache import View
from slipway.decision import Key
from slipway.engine import Engine
from slipway.kinds.model_deployment import CONTROLLER
from slipway.kinds.model_deployment.observe import observe
from slipway.kinds.model_deployment.world import World
from slipway.router import plan
from slipway.router.acks import Acks
from slipway.router.ledger import Ledger
from slipway.router.scrape import Scrape
from slipway.router.traffic import Counters, SelfTest, Traffic
from slipway.settings import Platform

NAMESPACE, NAME = "demo", "fashion"
PLACE = ("ModelDeployment", NAMESPACE, NAME)
ROLLOUT = {"canary": {"steps": [{"setWeight": 20}, {"setWeight": 50}]}}
ANALYSIS = {
    "metrics": [
        {"name": "error_rate", "maxIncrease": 0.01},
        {"name": "slow_rate", "maxIncrease": 0.02},
    ]
}
SLO = {"latency": {"threshold": "25ms"}}
CANARY = {"rollout": ROLLOUT, "analysis": ANALYSIS, "slo": SLO}
"""A rollout by steps, as the page on the API shows it."""
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
    passed: set[str] = field(default_factory=set)
    """Revision keys that gave the recorded answers."""
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

    def held(self) -> dict[str, int]:
        """Weights the routers go by."""
        return self._held

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
                self.passed |= {key} if wrong is None else set()
                self._tests[key] = SelfTest(wrong is None, f"{revision} {said}", cluster.now)


class _Watched(Connection):
    """Looks at the cluster after each single write of the operator."""

    def __init__(self, cluster: "Serving") -> None:
        super().__init__(cluster.store)
        self._cluster = cluster

    def _count(self, answer: Answer) -> Answer:
        self._cluster.check()
        return super()._count(answer)


class Serving(Cluster):
    """A cluster whose Deployments get pods, with routers before them. What may never be is checked all the time."""

    def __init__(self, platform: Platform = PLATFORM) -> None:
        self.routers = Routers()
        self.script: dict[str, Script] = {}
        """By version; others are healthy."""
        self.weights: list[dict[str, int]] = []
        """By version, each time they changed in status."""
        self._largest: dict[str, int] = {}
        super().__init__([CONTROLLER], {"ModelDeployment": api.ModelDeployment.parse}, platform)
        self.began = self.now

    # --- what a user does ---

    def deploy(self, version: str = "v1", **spec: Any) -> None:
        found = make.model_deployment(spec={"modelRef": None, "modelVersionRef": {"name": version}, **spec})
        del found["status"]
        self.create(found)
        self.settle()

    def serve(self, version: str) -> None:
        """Another version is wanted."""
        self.edit(*PLACE, {"spec": {"modelVersionRef": {"name": version}}})

    def ask(self, act: str, value: str | None = "1") -> None:
        self.edit(*PLACE, {"metadata": {"annotations": {f"slipway.dev/{act}": value}}})

    def add_version(self, name: str, **rest: Any) -> None:
        """Ready, of its own content."""
        manifest = make.ready_version(name, digest=f"sha256:{sha256(name.encode()).hexdigest()}", **rest)
        uri = f"s3://slipway/demo/models/{name}/examples.json"
        self.put(make.merged(manifest, {"status": {"examples": {"count": 16, "storageUri": uri}}}))

    def put(self, manifest: dict[str, Any]) -> None:
        """With its status, as its own controller would have written it."""
        kind, metadata = manifest["kind"], manifest["metadata"]
        self.create({key: value for key, value in manifest.items() if key != "status"})
        self.set_status(kind, metadata["namespace"], metadata["name"], manifest["status"])

    # --- what is there ---

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get(*PLACE)["status"]
        return found

    def condition(self, type_: str) -> tuple[str, str, str]:
        found = next(c for c in self.status["conditions"] if c["type"] == type_)
        return found["status"], found["reason"], found["message"]

    @property
    def outcomes(self) -> list[tuple[str, str, str]]:
        """Version, outcome and reason of each rollout in the history, oldest first."""
        entries = self.status.get("history", [])
        return [(e["modelVersionRef"]["name"], e["outcome"], e["reason"]) for e in reversed(entries)]

    def revision(self, version: str) -> str:
        records = self.list("ControllerRevision")
        names = {r["data"]["model"]["name"]: str(r["metadata"]["name"]) for r in records}
        return names[version]

    def replicas(self) -> dict[str, int]:
        """Asked for, by version."""
        names = {r["metadata"]["name"]: r["data"]["model"]["name"] for r in self.list("ControllerRevision")}
        return {names[d["metadata"]["name"]]: d["spec"]["replicas"] for d in self.list("Deployment")}

    def world(self) -> World:
        """What the operator sees now."""
        engine = self.engine
        view = View(self.now, engine.cache, {}, self.routers.traffic, self._platform)
        found = observe(view, Key(*PLACE))
        assert found is not None
        return found

    def check(self) -> None:
        """What has to hold after every single write."""
        manifest = self.store.objects.get(PLACE)
        revisions = ((manifest or {}).get("status") or {}).get("revisions") or []
        if not revisions:
            return
        weights = {r["modelVersionRef"]["name"]: r.get("weight", 0) for r in revisions}
        if not self.weights or self.weights[-1] != weights:
            self.weights.append(weights)
        stable = next((r for r in revisions if r["role"] == "Stable"), None)
        canary = next((r for r in revisions if r["role"] == "Canary"), None)
        assert sum(weights.values()) == (100 if stable else 0), weights
        deployments = {d["metadata"]["name"]: d["spec"]["replicas"] for d in self._all("Deployment")}
        for key, weight in self.routers.held().items():
            assert not weight or key.rpartition("/")[2] in deployments, f"{key} went with {weight} %"
        if stable is not None:
            assert stable["name"] in deployments, "stable went"
            if canary is None:
                self._largest = {}
            else:
                least = self._largest.get(stable["name"], 0)
                assert deployments[stable["name"]] >= least, "stable shrank during a trial"
                self._largest[stable["name"]] = deployments[stable["name"]]
        if canary is not None and canary.get("weight", 0) > 0:
            name = canary["name"]
            ready = [p for p in self._all("Pod") if p["metadata"]["labels"]["slipway.dev/revision"] == name]
            wanted = stable["replicas"] * canary["weight"] / 100 if stable else 1
            assert len(ready) >= wanted, f"{name} has {canary['weight']} % and {len(ready)} pods"
            assert f"{NAMESPACE}/{NAME}/{name}" in self.routers.passed, f"{name} wasn't tested"

    def _all(self, kind: str) -> list[dict[str, Any]]:
        return [manifest for place, manifest in self.store.objects.items() if place[0] == kind]

    # --- time ---

    def tick(self, seconds: float = 1.0) -> None:
        """Time goes by; each second kubelets and routers do their part, and the operator what follows."""
        for _ in range(int(seconds)):
            self.second()
            self.settle()
            self.check()

    def until(self, phase: str, most: int = 400) -> None:
        """Until the deployment is in this phase."""
        for _ in range(most):
            self.tick()
            if self.status["phase"] == phase:
                return
        raise AssertionError(f"never {phase}: {self.status['summary']}")

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
        if not isinstance(self.connection, _Watched):
            self.connection = _Watched(self)
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
