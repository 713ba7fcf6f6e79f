"""Reads the counters of every ready router, and puts together all that is known of the routers."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

import aiohttp

from slipway.adapters.ads import AdsServer, Router
from slipway.adapters.certificates import Pair, load_pair
from slipway.adapters.self_tests import SelfTests, in_url
from slipway.router.acks import Acks
from slipway.router.ledger import Ledger
from slipway.router.resources import Resources
from slipway.router.route import Route
from slipway.router.scrape import FILTER, Scrape, parse
from slipway.router.tls import ROUTER_NAME
from slipway.router.traffic import Traffic

logger = logging.getLogger(__name__)

INTERVAL_S = 1.5
TIMEOUT = aiohttp.ClientTimeout(total=15)
"""The counters of 500 busy deployments are 7 MiB: 0.5 s from a router with a core, 5 s from one that starves."""


@dataclass(frozen=True)
class RouterPorts:
    """The two ports that are for the operator alone."""

    stats: int = 8200
    self_test: int = 8100


async def resolve(host: str) -> list[str]:
    """Addresses of a headless Service: its ready pods. Empty while there is none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return []
    return sorted({str(address[0]) for *_, address in found})


class Stats:
    """`run` is the loop; `traffic` the newest picture, the same object until something changed."""

    def __init__(
        self,
        ads: AdsServer,
        addresses: Callable[[], Awaitable[Iterable[str]]],
        client: Pair,
        now: Callable[[], datetime],
        *,
        ports: RouterPorts | None = None,
        on_round: Callable[[], None] = lambda: None,
    ) -> None:
        """`addresses`: of the ready routers, as `resolve` gives them. `on_round` is called after each reading."""
        self._ads = ads
        self._addresses = addresses
        self._now = now
        self._ports = ports or RouterPorts()
        self._on_round = on_round
        self._began = now()
        self._ledger = Ledger(self._began)
        self._acks = Acks()
        self._resources: Resources | None = None
        self._ready: dict[str, str] = {}
        self._scraped_at: datetime | None = None
        self._traffic: Traffic | None = None
        self._failing: set[str] = set()
        self.renew(client)
        self.self_tests = SelfTests(now, self._ports.self_test, self._forget_picture)

    def renew(self, client: Pair) -> None:
        """The certificate to show from now on."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=client.authorities.decode())
        load_pair(context, client)
        self._tls = context

    def update(self, routes: Iterable[Route], resources: Resources) -> None:
        """What the routers are to hold: told here beside `AdsServer.update`."""
        self._resources = resources
        self.self_tests.want(routes)
        self.acknowledged()

    def acknowledged(self) -> None:
        """To be called on every change that the ADS server tells."""
        held = {router.name: router for router in self._ads.routers}
        ready = [held.get(name) for name in self._ready]
        routed = self._resources.weights if self._resources else {}
        self._acks.update(self._now(), routed, [router.weights if router else {} for router in ready])
        self._forget_picture()

    async def run(self) -> None:
        """Until cancelled."""
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            while True:
                started = asyncio.get_running_loop().time()
                await self.round(session)
                await self.self_tests.run_due(session, self._tls, list(self._ready.values()))
                self._on_round()
                spent = asyncio.get_running_loop().time() - started
                # A reading of many clusters takes its time; it must not take all of the leader's.
                await asyncio.sleep(max(INTERVAL_S - spent, 2 * spent))

    async def round(self, session: aiohttp.ClientSession) -> None:
        """Reads every ready router once."""
        self._ready = by_name(await self._addresses(), self._ads.routers)
        self.acknowledged()
        weights = dict(self._acks.weights)
        answers = await asyncio.gather(*(self._scrape(session, *one) for one in self._ready.items()))
        scrapes = {name: scrape for name, scrape in zip(self._ready, answers, strict=True) if scrape}
        now = self._now()
        self._ledger.record(now, scrapes, weights)
        if scrapes and len(scrapes) == len(self._ready):
            self._scraped_at = now
        self._forget_picture()

    async def _scrape(self, session: aiohttp.ClientSession, name: str, address: str) -> Scrape | None:
        """None: it couldn't be read; told once, until it can."""
        url = f"https://{in_url(address)}:{self._ports.stats}/stats/prometheus"
        try:
            async with session.get(
                url, params={"usedonly": "", "filter": FILTER}, ssl=self._tls, server_hostname=ROUTER_NAME
            ) as response:
                response.raise_for_status()
                scrape = parse(await response.text())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            if name not in self._failing:
                logger.warning(
                    "Counters of router %s can't be read: %s", name, str(error) or type(error).__name__
                )
            self._failing.add(name)
            return None
        self._failing.discard(name)
        return scrape

    def traffic(self) -> Traffic:
        """All that is known now."""
        if self._traffic is None:
            connected = {router.name for router in self._ads.routers}
            self._traffic = Traffic(
                epoch=self._began.isoformat(timespec="seconds"),
                routers=tuple(sorted(self._ready.keys() & connected)),
                acked=self._acks.acked,
                acked_at=self._acks.since,
                counters=dict(self._ledger.totals),
                intervals=self._ledger.intervals(),
                rates=self._ledger.rates(),
                scraped_at=self._scraped_at,
                self_tests=dict(self.self_tests.results),
                nacks=self._ads.nacks,
                conflicts=self._resources.conflicts if self._resources else {},
            )
        return self._traffic

    def _forget_picture(self) -> None:
        self._traffic = None


def by_name(addresses: Iterable[str], connected: Iterable[Router]) -> dict[str, str]:
    """Address of each ready router by its name; one that isn't connected goes by its address.

    So it counts as ready, and nothing as acknowledged by all, until it has connected.
    """
    names = {router.address: router.name for router in connected}
    return {names.get(address, address): address for address in addresses}
