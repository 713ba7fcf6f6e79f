"""The order of pushes, without a network: the router's side is played here."""

from envoys import CREATED
from slipway.router.exchange import Exchange, Response
from slipway.router.message import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES
from slipway.router.resources import Resources, build
from slipway.router.route import Arm, Endpoint, Route

POD = (Endpoint("10.0.0.1"),)
TABLES = frozenset({"public", "self-test"})


def of(**weights: int) -> Resources:
    arms = tuple(Arm(name, weight, POD) for name, weight in weights.items())
    return build([Route("demo", "fashion", CREATED, (), arms)])


class Router:
    """Acknowledges as Envoy does: clusters only once their endpoints have come."""

    def __init__(self) -> None:
        self.exchange = Exchange()
        self.seen: list[str] = []
        self.clusters: frozenset[str] = frozenset()

    def follow(self, wanted: Resources) -> list[str]:
        """What was pushed until nothing was left, by short name, clusters with their count."""
        self.seen = []
        waiting: Response | None = None
        while response := self.exchange.send(wanted):
            kind = response.type_url.rpartition(".")[2]
            self.seen.append(f"{kind} {len(response.resources)}" if kind == "Cluster" else kind)
            if response.type_url == CLUSTERS:
                waiting = response
                names = [name for name in self._names(wanted) if self._is_in(name, response)]
                self.clusters = frozenset(names)
                self.exchange.receive(ENDPOINTS, self.clusters, self._nonce(ENDPOINTS), None)
                if not self.clusters:
                    self.ack(waiting)
                continue
            self.ack(response)
            if response.type_url == ENDPOINTS and waiting:
                self.ack(waiting)
        return self.seen

    def ack(self, response: Response, error: str | None = None) -> None:
        names = {ENDPOINTS: self.clusters, ROUTES: TABLES}.get(response.type_url, frozenset())
        self.exchange.receive(response.type_url, names, response.nonce, error)

    def start(self, wanted: Resources) -> list[str]:
        for kind in (CLUSTERS, LISTENERS):
            self.exchange.receive(kind, frozenset(), "", None)
        pushed = self.follow(wanted)
        self.exchange.receive(ROUTES, TABLES, "", None)
        return pushed + self.follow(wanted)

    def _nonce(self, kind: str) -> str:
        subscription = self.exchange.subscriptions.get(kind)
        return subscription.nonce if subscription else ""

    def _names(self, wanted: Resources) -> set[str]:
        return set(wanted.by_type[CLUSTERS]) | self.clusters

    @staticmethod
    def _is_in(name: str, response: Response) -> bool:
        field = b"\n" + bytes([len(name)]) + name.encode()
        return any(resource.value.startswith(field) for resource in response.resources)


def test_a_router_that_comes_gets_clusters_endpoints_listeners_and_routes() -> None:
    router = Router()
    pushed = router.start(of(one=100))
    assert pushed == ["Cluster 2", "ClusterLoadAssignment", "Listener", "RouteConfiguration"]
    assert router.exchange.acknowledged(ROUTES) == of(one=100).version
    assert router.follow(of(one=100)) == []


def test_a_weight_is_one_push() -> None:
    router = Router()
    router.start(of(one=100, two=0))
    assert router.follow(of(one=50, two=50)) == ["RouteConfiguration"]


def test_a_new_revision_has_its_clusters_and_endpoints_before_its_weight() -> None:
    router = Router()
    router.start(of(one=100))
    assert router.follow(of(one=50, two=50)) == ["Cluster 4", "ClusterLoadAssignment", "RouteConfiguration"]


def test_a_revision_keeps_its_clusters_until_the_routes_without_it_are_held() -> None:
    router = Router()
    router.start(of(one=50, two=50))
    pushed = router.follow(of(two=100))
    assert pushed[0] == "Cluster 4" or pushed[0] == "ClusterLoadAssignment"
    assert pushed.index("RouteConfiguration") < pushed.index("Cluster 2")
    assert router.clusters == {"demo/fashion/two", "demo/fashion/two/grpc"}


def test_routes_wait_for_clusters_that_were_refused() -> None:
    router = Router()
    router.start(of(one=100))
    wanted = of(one=50, two=50)
    response = router.exchange.send(wanted)
    assert response is not None
    assert response.type_url == CLUSTERS
    router.ack(response, "no such thing")
    pushed = router.follow(wanted)
    assert "RouteConfiguration" not in pushed
    assert router.exchange.refusals[CLUSTERS].message == "no such thing"
    assert router.exchange.acknowledged(ROUTES) == of(one=100).version
    assert router.exchange.routes is not None
    assert router.exchange.routes.weights == {"demo/fashion/one": 100}
    better = of(one=80, three=20)
    assert router.follow(better)[-1] == "RouteConfiguration"
    assert router.exchange.refusals == {}


def test_an_answer_to_what_was_overtaken_changes_nothing() -> None:
    router = Router()
    router.start(of(one=100, two=0))
    first = router.exchange.send(of(one=50, two=50))
    assert first is not None
    router.exchange.receive(ROUTES, TABLES, "0", None)
    assert router.exchange.acknowledged(ROUTES) is None
    router.ack(first)
    assert router.exchange.acknowledged(ROUTES) == of(one=50, two=50).version
