"""A cluster in memory: the API of fake_api.py and the operator's engine on it.

    cluster = Cluster(CONTROLLERS, parse)
    cluster.create(dataset)
    cluster.settle()                       # runs the engine until nothing is left to do
    cluster.finish_job("demo", "fashion-mnist-1a2b3c-1", report)
    cluster.settle()

Jobs, pods and Deployments move only as the test moves them.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from fake_api import START, Store, WatchEvent
from slipway.adapters.kube import Conflict, Listing, NotFound, Unavailable
from slipway.cache import Cache
from slipway.controller import AnyController
from slipway.decision import Key, Manifest
from slipway.engine import Engine
from slipway.events import Recorder
from slipway.settings import Platform

PLATFORM = Platform(
    operator_image="registry.test/slipway/operator:1",
    jobs_image="registry.test/slipway/jobs:1",
    triton_image="registry.test/slipway/triton:1",
    release_namespace="slipway-system",
    router_service="slipway-router",
    progress_url="https://slipway-operator.slipway-system.svc.cluster.local:8443",
    progress_ca="-----BEGIN CERTIFICATE-----\ntest\n-----END CERTIFICATE-----\n",
)
MOST_PASSES = 2000
MOST_RETRIES = 10
Answer = TypeVar("Answer")


class Crash(BaseException):
    """The operator's process ends here. Not an Exception, so that nothing in the operator can catch it."""


class Connection:
    """The operator's way to the store: counts its writes and fails on order."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.writes = 0
        self.fail_at: int | None = None
        """The write, counted from 1, after which it fails: done, but unanswered."""
        self.failure: type[BaseException] = Crash

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        return await self._store.get(kind, namespace, name)

    async def list(
        self, kind: str, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Listing:
        return await self._store.list(kind, namespace, labels)

    async def create(self, manifest: Manifest) -> dict[str, Any]:
        return self._count(await self._store.create(manifest))

    async def apply(self, manifest: Manifest) -> dict[str, Any]:
        return self._count(await self._store.apply(manifest))

    async def apply_status(
        self, kind: str, namespace: str, name: str, version: str, status: Mapping[str, Any]
    ) -> dict[str, Any]:
        return self._count(await self._store.apply_status(kind, namespace, name, version, status))

    async def patch(self, kind: str, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._count(await self._store.patch(kind, namespace, name, body))

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> dict[str, Any] | None:
        return self._count(await self._store.delete(kind, namespace, name, uid))

    def _count(self, answer: Answer) -> Answer:
        self.writes += 1
        if self.writes == self.fail_at:
            raise self.failure("the connection broke after this write")
        return answer


class Cluster:
    """A store, a clock and an operator. Everything is synchronous and in a fixed order."""

    def __init__(
        self,
        controllers: Iterable[AnyController],
        parse: Mapping[str, Callable[[Manifest], Any]],
        platform: Platform = PLATFORM,
    ) -> None:
        self.now = START
        self.store = Store(lambda: self.now)
        self.connection = Connection(self.store)
        self.deliver: Callable[[Sequence[WatchEvent]], Iterable[WatchEvent]] = lambda events: events
        """What of the watch events reaches the operator, and in what order."""
        self._controllers = tuple(controllers)
        self._parse = parse
        self._platform = platform
        self._waiting: dict[Key, None] = {}
        self._due: dict[Key, datetime] = {}
        self.engine = self._start()

    def create(self, manifest: Manifest) -> dict[str, Any]:
        """As a user does."""
        return asyncio.run(self.store.create(manifest))

    def edit(self, kind: str, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A merge patch, as a user does it."""
        return asyncio.run(self.store.patch(kind, namespace, name, body))

    def delete(self, kind: str, namespace: str, name: str) -> None:
        asyncio.run(
            self.store.delete(kind, namespace, name, self.get(kind, namespace, name)["metadata"]["uid"])
        )

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        return asyncio.run(self.store.get(kind, namespace, name))

    def list(self, kind: str, namespace: str | None = None) -> list[dict[str, Any]]:
        return asyncio.run(self.store.list(kind, namespace)).items

    def events(self) -> Sequence[str]:
        """Reasons and notes of the Events posted."""
        return [f"{event['reason']}: {event['note']}" for event in self.list("Event")]

    def set_status(self, kind: str, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        """As a controller of Kubernetes does."""
        self.store.set_status(kind, namespace, name, status)

    def start_pod(self, namespace: str, job: str) -> str:
        """The Job's pod runs; its name."""
        owner = self.get("Job", namespace, job)
        template = owner["spec"]["template"]
        name = f"{job}-0"
        self.create({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": namespace,
                "labels": {**template["metadata"]["labels"], "batch.kubernetes.io/job-name": job},
                "ownerReferences": [{
                    "apiVersion": "batch/v1", "kind": "Job", "name": job,
                    "uid": owner["metadata"]["uid"], "controller": True,
                }],
            },
            "spec": template["spec"],
        })  # fmt: skip
        main = {"name": "main", "state": {"running": {"startedAt": self._stamp()}}}
        self.set_status("Pod", namespace, name, {"phase": "Running", "containerStatuses": [main]})
        self.set_status("Job", namespace, job, {"active": 1, "startTime": self._stamp()})
        return name

    def finish_job(self, namespace: str, job: str, report: str = "", exit_code: int = 0) -> None:
        """The Job's pod (started if need be) ends with this termination message, and the Job with it."""
        name = f"{job}-0"
        if ("Pod", namespace, name) not in self.store.objects:
            self.start_pod(namespace, job)
        terminated = {
            "exitCode": exit_code,
            "reason": "Error" if exit_code else "Completed",
            "message": report,
            "finishedAt": self._stamp(),
        }
        phase = "Failed" if exit_code else "Succeeded"
        main = {"name": "main", "state": {"terminated": terminated}}
        self.set_status("Pod", namespace, name, {"phase": phase, "containerStatuses": [main]})
        condition = {
            "type": "Failed" if exit_code else "Complete",
            "status": "True",
            "reason": "BackoffLimitExceeded" if exit_code else "CompletionsReached",
            "lastTransitionTime": self._stamp(),
        }
        ended = {"failed": 1} if exit_code else {"succeeded": 1, "completionTime": self._stamp()}
        self.set_status(
            "Job", namespace, job, {**ended, "startTime": self._stamp(), "conditions": [condition]}
        )

    def settle(self) -> None:
        """Run the operator until it has nothing left to do now. A pass that fails by itself fails the test."""
        asyncio.run(self._settle())

    def advance(self, seconds: float) -> None:
        """Let time go by, running each key when it is due."""
        end = self.now + timedelta(seconds=seconds)
        while (due := min(self._due.values(), default=None)) is not None and due <= end:
            self.now = max(self.now, due)
            self._wake_due()
            self.settle()
        self.now = end
        self.settle()

    def restart(self) -> None:
        """The operator's process ends and another begins: all it knows is what the API says."""
        asyncio.run(self._restart())

    def relist(self) -> None:
        """The operator's periodic comparison of its cache with the API."""
        asyncio.run(self.engine.relist())

    def run_all(self) -> None:
        """The slow resync: every key once."""
        self._waiting.update(dict.fromkeys(self.engine.all_keys()))
        self.settle()

    def snapshot(self) -> dict[str, Any]:
        """All objects but Events, comparable between runs: uids by name, without versions and creation times."""
        names = {
            manifest["metadata"]["uid"]: f"uid of {'/'.join(place)}"
            for place, manifest in self.store.objects.items()
        }
        kept: dict[str, Any] = {}
        for place, manifest in sorted(self.store.objects.items()):
            if place[0] != "Event":
                text = json.dumps(manifest, sort_keys=True)
                for uid, name in names.items():
                    text = text.replace(uid, name)
                kept["/".join(place)] = json.loads(text)
                for field in ("resourceVersion", "creationTimestamp"):
                    del kept["/".join(place)]["metadata"][field]
        return kept

    async def _settle(self) -> None:
        retries = passes = 0
        while True:
            self.store.collect_garbage()
            events, self.store.watch = self.store.watch, []
            for event in self.deliver(events):
                self.engine.watched(event.type, event.manifest)
            if not self._waiting:
                if self.store.watch:
                    continue
                return
            key = next(iter(self._waiting))
            del self._waiting[key]
            passes += 1
            assert passes <= MOST_PASSES, (
                f"never settles: {key} and {len(self._waiting)} others still change things"
            )
            try:
                again_in = await self.engine.reconcile(key)
            except Crash:
                await self._restart()
            except (Unavailable, Conflict, NotFound) as error:
                retries += 1
                if retries > MOST_RETRIES:
                    raise AssertionError(f"{key} fails again and again: {error}") from error
                self._waiting[key] = None
            else:
                self._due.pop(key, None)
                if again_in is not None:
                    self._due[key] = self.now + timedelta(seconds=again_in)

    async def _restart(self) -> None:
        self.store.watch.clear()
        self._waiting.clear()
        self._due.clear()
        self.engine = self._start()
        await self.engine.relist()
        self._waiting.update(dict.fromkeys(self.engine.all_keys()))

    def _start(self) -> Engine:
        def now() -> datetime:
            return self.now

        return Engine(
            self.connection, Cache(), self._controllers, self._parse, self._platform,
            Recorder(self.connection, "test", now), now=now, wake=lambda key: self._waiting.setdefault(key),
        )  # fmt: skip

    def _wake_due(self) -> None:
        for key in [key for key, due in self._due.items() if due <= self.now]:
            del self._due[key]
            self._waiting[key] = None

    def _stamp(self) -> str:
        return self.now.strftime("%Y-%m-%dT%H:%M:%SZ")


Step = Callable[[Cluster], None]


def run(
    make_cluster: Callable[[], Cluster], steps: Sequence[Step], prepare: Step = lambda cluster: None
) -> Cluster:
    """Settle after each step."""
    cluster = make_cluster()
    prepare(cluster)
    for step in steps:
        step(cluster)
        cluster.settle()
    return cluster


def crash_everywhere(make_cluster: Callable[[], Cluster], steps: Sequence[Step]) -> int:
    """Each step is what a user or the world does; the operator settles after it. Whatever write the operator
    stops after - its process ends, or the answer is lost - the end is the same as without. How many stops.

    Also: at the end nothing is written any more, neither by the resync nor by a restarted operator.
    """
    whole = run(make_cluster, steps)
    wanted, writes = whole.snapshot(), whole.connection.writes
    assert_at_rest(whole)
    stops = 0
    for failure in (Crash, Unavailable):
        for stop in range(1, writes + 1):

            def prepare(cluster: Cluster, stop: int = stop, failure: type[BaseException] = failure) -> None:
                cluster.connection.fail_at, cluster.connection.failure = stop, failure

            cluster = run(make_cluster, steps, prepare)
            assert cluster.connection.writes >= stop, f"write {stop} of {writes} never came"
            _assert_same(cluster.snapshot(), wanted, f"{failure.__name__} after write {stop} of {writes}")
            stops += 1
    return stops


def mangle_everywhere(make_cluster: Callable[[], Cluster], steps: Sequence[Step]) -> None:
    """Events that come twice, in reverse order or not at all (until the periodic list) change nothing."""
    wanted = run(make_cluster, steps).snapshot()
    orders: dict[str, Callable[[Sequence[WatchEvent]], Iterable[WatchEvent]]] = {
        "duplicated": lambda events: [event for event in events for _ in range(2)],
        "reversed": lambda events: list(reversed(events)),
        "lost": lambda events: (),
    }
    for name, order in orders.items():
        cluster = make_cluster()
        cluster.deliver = order
        for step in steps:
            step(cluster)
            cluster.settle()
            cluster.relist()
            cluster.settle()
        _assert_same(cluster.snapshot(), wanted, f"events {name}")


def assert_at_rest(cluster: Cluster) -> None:
    """The resync sends no write, and a restarted operator changes no object."""
    requests = cluster.connection.writes
    cluster.run_all()
    assert cluster.connection.writes == requests, "the operator writes to objects at rest"
    version = cluster.store.version
    cluster.restart()
    cluster.settle()
    assert cluster.store.version == version, "a restarted operator changes objects at rest"


def _assert_same(found: Mapping[str, Any], wanted: Mapping[str, Any], when: str) -> None:
    assert sorted(found) == sorted(wanted), f"{when}: other objects"
    for name in wanted:
        assert found[name] == wanted[name], f"{when}: {name} differs"
