"""Which weights every ready router has acknowledged, and since when."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from slipway.router.ledger import Weights


class Acks:
    """`update` at every acknowledgement and whenever routers come or go."""

    def __init__(self) -> None:
        self.weights: dict[str, Weights | None] = {}
        """Deployment key -> (revision, weight) of those above 0; None while routers differ or there are none."""
        self.acked: dict[str, int] = {}
        """Revision key -> weight, where all routers agree."""
        self.since: dict[str, datetime] = {}
        """Deployment key -> when all of them first agreed on these weights."""

    def update(self, now: datetime, wanted: Iterable[str], held: Iterable[Mapping[str, int]]) -> None:
        """`wanted`: revision keys that are routed; `held`: weights by revision key, of each ready router."""
        routers = list(held)
        before, self.weights, self.acked = self.weights, {}, {}
        for key in wanted:
            deployment, _, revision = key.rpartition("/")
            told = {router.get(key) for router in routers}
            weight = told.pop() if len(told) == 1 else None
            weights = self.weights.setdefault(deployment, ())
            if weight is None:
                self.weights[deployment] = None
                continue
            self.acked[key] = weight
            if weights is not None and weight > 0:
                self.weights[deployment] = (*weights, (revision, weight))
        self.since = {
            key: self.since[key] if key in self.since and before.get(key) == weights else now
            for key, weights in self.weights.items()
            if weights is not None
        }
