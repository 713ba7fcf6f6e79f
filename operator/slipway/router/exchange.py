"""One router's side of the xDS conversation: what it asked for, holds, refused, and is to be sent next.

Order is what makes a change lose no request: clusters with their endpoints before the routes that use them,
and a cluster goes only after the routes without it are acknowledged. Weight on a cluster that Envoy doesn't
hold would be acknowledged and answered with 503. Envoy acknowledges clusters once they are warm, that is once
their endpoints have come and were checked; so endpoints don't wait for that acknowledgement, routes do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from slipway.router.message import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, Packed
from slipway.router.resources import Resources

ORDER = (CLUSTERS, ENDPOINTS, ROUTES, LISTENERS)


@dataclass(frozen=True)
class Response:
    """To be sent."""

    type_url: str
    version: str
    nonce: str
    resources: tuple[Packed, ...]


@dataclass(frozen=True)
class Refusal:
    """A configuration that the router didn't take, in Envoy's words."""

    type_url: str
    version: str
    message: str


@dataclass
class _Subscription:
    names: frozenset[str] = frozenset()
    sent: str | None = None
    """Version, as all of these: sent last, acknowledged last, refused last."""
    acked: str | None = None
    refused: str | None = None
    nonce: str = ""
    sent_names: frozenset[str] = frozenset()

    @property
    def waits(self) -> bool:
        """Sent, and neither acknowledged nor refused yet."""
        return self.sent is not None and self.sent not in (self.acked, self.refused)


@dataclass
class Exchange:
    """State of one stream. `receive` for each request, then `send` until it has nothing."""

    subscriptions: dict[str, _Subscription] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    """By type; gone once a later version is acknowledged."""
    routes: Resources | None = None
    """The resources whose route table the router acknowledged last."""
    _clusters: Mapping[str, Packed] = field(default_factory=dict)
    """Sent last."""
    _held: Mapping[str, Packed] = field(default_factory=dict)
    """Acknowledged last."""
    _offered: Resources | None = None
    _count: int = 0

    def receive(self, type_url: str, names: frozenset[str], nonce: str, error: str | None) -> None:
        """A request: a subscription, an acknowledgement, or with `error` a refusal."""
        subscription = self.subscriptions.setdefault(type_url, _Subscription())
        if nonce and nonce != subscription.nonce:
            return  # An answer to what was overtaken by a later push.
        subscription.names = names
        if not nonce or subscription.sent is None:
            return
        if error is not None:
            subscription.refused = subscription.sent
            self.refusals[type_url] = Refusal(type_url, subscription.sent, error)
            return
        subscription.acked = subscription.sent
        self.refusals.pop(type_url, None)
        if type_url == CLUSTERS:
            self._held = self._clusters
        if type_url == ROUTES:
            self.routes = self._offered

    def send(self, wanted: Resources) -> Response | None:
        """The next thing to be sent; None: nothing before the next request or change."""
        holds_all = True  # of the types before this one, as wanted now
        for type_url in ORDER:
            if type_url == ROUTES and not holds_all:
                return None
            subscription = self.subscriptions.get(type_url)
            if subscription is None:
                holds_all &= type_url != ENDPOINTS or not self._clusters
                continue
            if subscription.waits:
                holds_all = False
                continue
            resources, version = self._wanted(type_url, wanted, subscription)
            if version != subscription.sent or not subscription.names <= subscription.sent_names:
                return self._response(type_url, version, resources, subscription, wanted)
            holds_all &= subscription.acked == version
            if type_url == ENDPOINTS:
                holds_all &= self._clusters.keys() <= subscription.names
        return None

    def acknowledged(self, type_url: str) -> str | None:
        """Version that the router holds."""
        subscription = self.subscriptions.get(type_url)
        return subscription.acked if subscription else None

    def _wanted(
        self, type_url: str, wanted: Resources, subscription: _Subscription
    ) -> tuple[Mapping[str, Packed], str]:
        resources, version = wanted.by_type[type_url], wanted.versions[type_url]
        if type_url == CLUSTERS and not self._holds_routes(wanted):
            leaving = self._held.keys() - resources.keys()
            if leaving:
                kept = {name: self._held[name] for name in leaving}
                return {**resources, **kept}, f"{version}+{len(leaving)}"
        if type_url == ENDPOINTS:
            resources = {name: one for name, one in resources.items() if name in subscription.names}
        return resources, version

    def _holds_routes(self, wanted: Resources) -> bool:
        return ROUTES not in self.subscriptions or self.acknowledged(ROUTES) == wanted.version

    def _response(
        self,
        type_url: str,
        version: str,
        resources: Mapping[str, Packed],
        subscription: _Subscription,
        wanted: Resources,
    ) -> Response:
        self._count += 1
        subscription.nonce = str(self._count)
        subscription.sent, subscription.acked, subscription.refused = version, None, None
        subscription.sent_names = subscription.names
        if type_url == CLUSTERS:
            self._clusters = resources
            # A cluster that changed is warmed again and waits for its endpoints, known or not.
            endpoints = self.subscriptions.get(ENDPOINTS)
            if endpoints is not None:
                endpoints.sent = None
        if type_url == ROUTES:
            self._offered = wanted
        return Response(type_url, version, subscription.nonce, tuple(resources.values()))
